//! Work on many things at once, on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Does the work for every item, with as many threads as there are cores, each taking the next item
/// that nobody has; the results are in the order of the items. A panic costs the one item that met
/// it, whose result is `None`.
pub fn on_all_cores<'i, I: Sync, O: Send>(
    items: &'i [I],
    work: impl Fn(&'i I) -> O + Sync,
) -> Vec<Option<O>> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, catch_unwind(AssertUnwindSafe(|| work(item))).ok()));
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let mut results: Vec<(usize, Option<O>)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(take_turns)).collect();
        let own = take_turns();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_default())
            .chain(own)
            .collect()
    });
    results.sort_by_key(|(at, _)| *at);
    results.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_has_its_turn_and_a_panic_costs_only_one() {
        let items: Vec<u32> = (0..1000).collect();
        let results =
            on_all_cores(&items, |item| if *item == 500 { panic!("a fault") } else { item * 2 });
        assert_eq!(results.len(), items.len());
        for (item, result) in items.iter().zip(results) {
            assert_eq!(result, (*item != 500).then_some(item * 2));
        }
        assert_eq!(on_all_cores(&[] as &[u32], |item| *item), Vec::new());
    }
}
