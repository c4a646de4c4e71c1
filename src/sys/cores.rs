//! Parallel work on all cores.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// The number of cores. Finding it reads several files of the control group.
static CORES: LazyLock<usize> =
    LazyLock::new(|| thread::available_parallelism().map_or(1, usize::from));

/// Does the work for every item, with as many threads as there are cores; the results are in the
/// order of the items. The result of an item whose work panics is `None`.
pub fn on_all_cores<'i, I: Sync, O: Send>(
    items: &'i [I],
    work: impl Fn(&'i I) -> O + Sync,
) -> Vec<Option<O>> {
    let next = AtomicUsize::new(0);
    let work_off = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return done };
            done.push((at, catch_unwind(AssertUnwindSafe(|| work(item))).ok()));
        }
    };
    let workers = CORES.min(items.len());
    let mut results: Vec<(usize, Option<O>)> = thread::scope(|scope| {
        let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work_off)).collect();
        let own = work_off();
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
    fn panic_costs_only_the_result_of_its_item() {
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
