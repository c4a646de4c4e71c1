//! One service's turn: look, do what its remedy and its kind ask for, and look until it is seen to
//! have worked.

use std::time::Duration;

use tokio::time::Instant;

use super::connections::{self, Closing};
use super::error::StaleList;
use super::how::How;
use super::wait::{self, Yet};
use super::{RefreshError, Refreshed, Refreshing, Seen};
use crate::drivers::cri::CriError;
use crate::drivers::systemd::Systemd;
use crate::model::{Evidence, Health, Presence, RefreshStep, Remedy, Service, ServiceKind};

pub struct Turn<'t> {
    step: &'t RefreshStep,
    service: &'t Service,
    with: &'t Refreshing<'t>,
    restarted: bool,
}

/// How a service was found before anything was done to it.
struct Before {
    /// What ran.
    instance: Option<String>,
    /// Whether it was well.
    well: bool,
}

/// A service that was restarted or told.
struct Told {
    began: Instant,
    before: Before,
    /// Whether another container or process has to take its place.
    successor: bool,
    /// What went wrong on the way, and may not matter.
    trouble: Option<CriError>,
}

impl<'t> Turn<'t> {
    pub fn new(step: &'t RefreshStep, service: &'t Service, with: &'t Refreshing<'t>) -> Self {
        Self { step, service, with, restarted: false }
    }

    /// Makes it; and says whether the service was restarted or told on the way.
    pub async fn make(mut self) -> (bool, Result<Refreshed, RefreshError>) {
        let result = match self.step.remedy {
            Remedy::Revive => self.revive().await,
            Remedy::Await => self.wait_for_it().await,
            Remedy::Restart => self.restart(None).await,
            Remedy::CloseConnections => self.close_connections().await,
        };
        (self.restarted, result)
    }

    /// What fails again and again may have been started just now, by whoever looks after it: then
    /// there is nothing left to do.
    async fn revive(&mut self) -> Result<Refreshed, RefreshError> {
        let began = Instant::now();
        let seen = wait::look(self.with, self.service)
            .await
            .map_err(|yet| RefreshError::NotKnown(yet.found()))?;
        match (&seen.facts.presence, &self.service.kind) {
            (Presence::Running(_), _) => {}
            (Presence::Down(_), ServiceKind::Unit { unit, .. }) => {
                let systemd = Systemd::connect(self.with.limits.call).await?;
                self.with.caller.may_restart(self.step).await.map_err(RefreshError::Held)?;
                let told = wait::unless_stopped(
                    self.with.stop,
                    systemd.restart_failed(unit, self.with.limits.job),
                )
                .await;
                let told = told
                    .map_or(Err(RefreshError::Stopped), |told| told.map_err(RefreshError::from));
                self.restarted = told.as_ref().err().is_none_or(RefreshError::may_have_reached_it);
                told?;
            }
            (Presence::Down(reason), _) => return Err(RefreshError::NotRunning(reason.clone())),
            (Presence::Unknown(reason), _) => return Err(RefreshError::NotKnown(reason.clone())),
            (Presence::Absent | Presence::OutOfSight, _) => {
                return Err(RefreshError::NotRunning("it is not on this node".to_owned()));
            }
        }
        let limit = self.with.limits.well;
        let well = wait::until(self.with, self.service, limit, |seen| {
            wait::running(seen).and_then(|_| wait::well(seen))
        })
        .await;
        well.map_err(|yet| not_back(yet, limit))?;
        let after = began.elapsed();
        Ok(match self.restarted {
            true => Refreshed::Restarted {
                after,
                unready: after,
                by: None,
                instead: None,
                unwell: None,
            },
            false => Refreshed::TookIt { after, by: None },
        })
    }

    async fn wait_for_it(&mut self) -> Result<Refreshed, RefreshError> {
        let began = Instant::now();
        let limit = self.with.limits.takes;
        match wait::until(self.with, self.service, limit, |seen| {
            wait::fresh(seen, &self.step.credentials, false)
        })
        .await
        {
            Ok(_) if !self.step.closing.is_empty() => self.close_connections().await,
            Ok(by) => Ok(Refreshed::TookIt { after: began.elapsed(), by }),
            Err(Yet::Stale(list)) => {
                self.restart(Some(format!(
                    "it had not taken the new {list} by itself within {} s",
                    limit.as_secs_f32()
                )))
                .await
            }
            Err(Yet::Stopped) => Err(RefreshError::Stopped),
            Err(yet) => Err(RefreshError::NotSeen(yet.found())),
        }
    }

    async fn close_connections(&mut self) -> Result<Refreshed, RefreshError> {
        match connections::close(
            self.with.remote_port,
            &self.step.closing.iter().copied().collect(),
        )? {
            Closing::Closed(connections) => Ok(Refreshed::Closed { connections }),
            Closing::Impossible(reason) => self.restart(Some(reason.to_owned())).await,
        }
    }

    async fn restart(&mut self, instead: Option<String>) -> Result<Refreshed, RefreshError> {
        let before = self.find().await?;
        if self.is_successor(&before) {
            // Somebody else has restarted it since that was decided, so it has read what is there.
            return Ok(Refreshed::TookIt { after: Duration::ZERO, by: None });
        }
        let was_well = before.well;
        let told = self.tell(before).await?;
        let began = told.began;
        match self.see_it_back(&told).await {
            Ok((well_at, by)) => {
                let unready =
                    if told.successor { well_at.duration_since(began) } else { Duration::ZERO };
                Ok(Refreshed::Restarted {
                    after: began.elapsed(),
                    unready,
                    by,
                    instead,
                    unwell: None,
                })
            }
            Err(RefreshError::NeverHealthy { found, .. }) if !was_well => {
                let by = self.see_it_fresh_though_unwell(&told).await?;
                let after = began.elapsed();
                Ok(Refreshed::Restarted { after, unready: after, by, instead, unwell: Some(found) })
            }
            Err(error) => Err(error),
        }
    }

    fn is_successor(&self, before: &Before) -> bool {
        before.instance.as_ref().is_some_and(|instance| *instance != self.step.instance)
    }

    /// What runs now. A command may reach something that can't be seen from here.
    async fn find(&self) -> Result<Before, RefreshError> {
        let seen = wait::look(self.with, self.service)
            .await
            .map_err(|yet| RefreshError::NotKnown(yet.found()))?;
        let well = !matches!(seen.facts.health, Health::Unhealthy(_));
        let instance = match (seen.facts.presence, &self.service.kind) {
            (Presence::Running(instance), _) => Some(instance.id),
            (_, ServiceKind::Command { .. }) => None,
            (Presence::OutOfSight, _) => {
                return Err(RefreshError::NotKnown("nobody can see it from here".to_owned()));
            }
            (Presence::Absent, _) => {
                return Err(RefreshError::NotRunning("it is not on this node".to_owned()));
            }
            (Presence::Down(reason), _) => return Err(RefreshError::NotRunning(reason)),
            (Presence::Unknown(reason), _) => return Err(RefreshError::NotKnown(reason)),
        };
        Ok(Before { instance, well })
    }

    /// What can be found wrong beforehand is, before the one time is used up; and where nothing
    /// came of it, it is not.
    async fn tell(&mut self, before: Before) -> Result<Told, RefreshError> {
        let how = How::prepare(&self.service.kind, before.instance.as_deref(), self.with).await?;
        self.with.caller.may_restart(self.step).await.map_err(RefreshError::Held)?;
        let (began, successor) = (Instant::now(), how.ends_it());
        let done = how.carry_out(self.with).await;
        self.restarted = done.as_ref().err().is_none_or(RefreshError::may_have_reached_it);
        Ok(Told { began, before, successor, trouble: done? })
    }

    /// First something else runs, then it is well, then it shows what it uses. Says since when it
    /// was well, and by what it is fresh.
    async fn see_it_back(&self, told: &Told) -> Result<(Instant, Option<Evidence>), RefreshError> {
        let limits = self.with.limits;
        if told.successor {
            let found = wait::until(self.with, self.service, limits.successor, |seen| {
                self.runs_anew(seen, told)
            })
            .await;
            found.map_err(|yet| self.no_successor(yet, told))?;
        }
        let well = |seen: &Seen| self.runs_anew(seen, told).and_then(|()| wait::well(seen));
        let found = wait::until(self.with, self.service, limits.well, well).await;
        found.map_err(|yet| not_back(yet, limits.well))?;
        let well_at = Instant::now();
        Ok((well_at, self.see_it_fresh(told).await?))
    }

    /// What can't be told is waited for a little, and then left at that: it is well, and did what
    /// makes it take the new one.
    async fn see_it_fresh(&self, told: &Told) -> Result<Option<Evidence>, RefreshError> {
        let limits = self.with.limits;
        let began = Instant::now();
        let judge = |seen: &Seen| {
            self.runs_anew(seen, told).and_then(|()| wait::well(seen))?;
            match self.is_fresh(seen, told) {
                Err(Yet::Unknown(_)) if began.elapsed() >= limits.proof => Ok(None),
                result => result,
            }
        };
        match wait::until(self.with, self.service, limits.well, judge).await {
            Err(Yet::Unknown(_)) => Ok(None),
            result => result.map_err(|yet| not_back(yet, limits.well)),
        }
    }

    /// For one that was unhealthy before: that it is so still is no fault of the refresh.
    async fn see_it_fresh_though_unwell(
        &self,
        told: &Told,
    ) -> Result<Option<Evidence>, RefreshError> {
        let judge =
            |seen: &Seen| self.runs_anew(seen, told).and_then(|()| self.is_fresh(seen, told));
        match wait::until(self.with, self.service, self.with.limits.proof, judge).await {
            Err(Yet::Unknown(_)) => Ok(None),
            result => result.map_err(|yet| not_back(yet, self.with.limits.proof)),
        }
    }

    fn no_successor(&self, yet: Yet, told: &Told) -> RefreshError {
        let within = self.with.limits.successor;
        match (yet, &self.service.kind, &told.trouble) {
            (Yet::Stopped, ..) => RefreshError::Stopped,
            (yet, ServiceKind::StaticPod { .. }, None) => {
                RefreshError::NoSuccessor { within, found: yet.found() }
            }
            (yet, _, Some(trouble)) => {
                RefreshError::NoSuccessor { within, found: format!("{}; {trouble}", yet.found()) }
            }
            (yet, ..) => not_back(yet, within),
        }
    }

    fn runs_anew(&self, seen: &Seen, told: &Told) -> Result<(), Yet> {
        let instance = match (wait::running(seen), &self.service.kind) {
            (Err(_), ServiceKind::Command { .. }) => return Ok(()),
            (instance, _) => instance?,
        };
        let same = told.before.instance.as_deref() == Some(instance.id.as_str());
        if told.successor && same {
            Err(Yet::Missing("the old one still runs".to_owned()))
        } else {
            Ok(())
        }
    }

    fn is_fresh(&self, seen: &Seen, told: &Told) -> Result<Option<Evidence>, Yet> {
        let instance = seen.facts.presence.instance().map(|instance| instance.id.as_str());
        let same_process = instance.is_none() || instance == told.before.instance.as_deref();
        wait::fresh(seen, &self.step.credentials, same_process)
    }
}

fn not_back(yet: Yet, within: Duration) -> RefreshError {
    match yet {
        Yet::Stopped => RefreshError::Stopped,
        Yet::Stale(StaleList(list)) => RefreshError::StillStale(StaleList(list)),
        Yet::Missing(found) | Yet::Unwell(found) | Yet::Unknown(found) => {
            RefreshError::NeverHealthy { within, found }
        }
    }
}
