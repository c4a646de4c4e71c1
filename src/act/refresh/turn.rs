//! One service's turn: look, do what its remedy and its kind ask for, and look until it is seen to
//! have worked.

use std::time::Duration;

use tokio::time::Instant;

use super::connections::{self, Closing};
use super::error::StaleList;
use super::how::How;
use super::wait::{self, Shortfall};
use super::{RefreshError, Refreshed, Refreshing, ServiceObservation, Uptake};
use crate::drivers::cri::CriError;
use crate::drivers::systemd::Systemd;
use crate::model::{Evidence, Health, Presence, RefreshStep, Remedy, Service, ServiceKind};

pub struct Turn<'t> {
    step: &'t RefreshStep,
    service: &'t Service,
    with: &'t Refreshing<'t>,
    restarted: bool,
}

/// The state of a service before its refresh.
struct Before {
    /// The instance that ran.
    instance: Option<String>,
    /// Whether it was healthy.
    healthy: bool,
}

/// A service that was restarted or signalled.
struct Attempt {
    began: Instant,
    before: Before,
    /// Whether another container or process has to take its place.
    successor: bool,
    /// An error that may be harmless.
    trouble: Option<CriError>,
}

impl<'t> Turn<'t> {
    pub fn new(step: &'t RefreshStep, service: &'t Service, with: &'t Refreshing<'t>) -> Self {
        Self { step, service, with, restarted: false }
    }

    /// Carries out the step. Returns also whether the service was restarted or signalled.
    pub async fn make(mut self) -> (bool, Result<Refreshed, RefreshError>) {
        let result = match self.step.remedy {
            Remedy::Start => self.start().await,
            Remedy::Await => self.await_uptake().await,
            Remedy::Restart => self.restart(None).await,
            Remedy::CloseConnections => self.close_connections().await,
        };
        (self.restarted, result)
    }

    /// Restarts a failed unit, and waits until the service is healthy. Its supervisor may have
    /// started it just now: then only the wait is left.
    async fn start(&mut self) -> Result<Refreshed, RefreshError> {
        let began = Instant::now();
        let seen = wait::look(self.with, self.service)
            .await
            .map_err(|shortfall| RefreshError::NotKnown(shortfall.found()))?;
        match (&seen.facts.presence, &self.service.kind) {
            (Presence::Running(_), _) => {}
            (Presence::Down(_), ServiceKind::Unit { unit, .. }) => {
                let systemd = Systemd::connect(self.with.limits.call).await?;
                self.with.caller.may_restart(self.step).await?;
                let attempt = wait::unless_stopped(
                    self.with.stop,
                    systemd.restart_failed(unit, self.with.limits.job),
                )
                .await;
                let attempt = attempt.map_or(Err(RefreshError::Stopped), |attempt| {
                    attempt.map_err(RefreshError::from)
                });
                self.restarted =
                    attempt.as_ref().err().is_none_or(RefreshError::may_have_reached_it);
                attempt?;
            }
            (Presence::Down(reason), _) => return Err(RefreshError::NotRunning(reason.clone())),
            (Presence::Unknown(reason), _) => return Err(RefreshError::NotKnown(reason.clone())),
            (Presence::Absent | Presence::OutOfSight, _) => {
                return Err(RefreshError::NotRunning("it is not on this node".to_owned()));
            }
        }
        let limit = self.with.limits.healthy;
        let healthy = wait::until(self.with, self.service, limit, |seen| {
            wait::running(seen).and_then(|_| wait::healthy(seen))
        })
        .await;
        healthy.map_err(|shortfall| never_healthy(shortfall, limit))?;
        let after = began.elapsed();
        Ok(match self.restarted {
            true => Refreshed::Restarted {
                after,
                unready: after,
                uptake: Uptake::Verified(Evidence::Started),
                instead: None,
                unhealthy: None,
            },
            false => Refreshed::Reloaded { after, uptake: Uptake::Verified(Evidence::Started) },
        })
    }

    async fn await_uptake(&mut self) -> Result<Refreshed, RefreshError> {
        let began = Instant::now();
        let limit = self.with.limits.takes;
        match wait::until(self.with, self.service, limit, |seen| {
            wait::fresh(seen, &self.step.contents, false)
        })
        .await
        {
            Ok(_) if !self.step.closing.is_empty() => self.close_connections().await,
            Ok(by) => Ok(Refreshed::Reloaded { after: began.elapsed(), uptake: self.uptake(by) }),
            Err(Shortfall::Stale(list)) => {
                self.restart(Some(format!("it still used {list} after {} s", limit.as_secs_f32())))
                    .await
            }
            Err(Shortfall::Stopped) => Err(RefreshError::Stopped),
            Err(shortfall) => Err(RefreshError::NotSeen(shortfall.found())),
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
        self.with.caller.take_turn(self.step).await?;
        let before = self.find().await?;
        if self.is_successor(&before) {
            // It was restarted by others since the decision, so it has read the current files.
            return Ok(Refreshed::Reloaded {
                after: Duration::ZERO,
                uptake: Uptake::Verified(Evidence::Started),
            });
        }
        let was_healthy = before.healthy;
        let attempt = self.send_refresh(before).await?;
        let began = attempt.began;
        match self.verify_restart(&attempt).await {
            Ok((healthy_at, by)) => {
                let unready = if attempt.successor {
                    healthy_at.duration_since(began)
                } else {
                    Duration::ZERO
                };
                Ok(Refreshed::Restarted {
                    after: began.elapsed(),
                    unready,
                    uptake: self.uptake(by),
                    instead,
                    unhealthy: None,
                })
            }
            Err(RefreshError::NeverHealthy { found, .. }) if !was_healthy => {
                let by = self.verify_uptake_while_unhealthy(&attempt).await?;
                let after = began.elapsed();
                Ok(Refreshed::Restarted {
                    after,
                    unready: after,
                    uptake: self.uptake(by),
                    instead,
                    unhealthy: Some(found),
                })
            }
            Err(error) => Err(error),
        }
    }

    fn is_successor(&self, before: &Before) -> bool {
        before.instance.as_ref().is_some_and(|instance| *instance != self.step.instance)
    }

    /// Finds the running instance. A service that is refreshed by a command may have none that can
    /// be observed.
    async fn find(&self) -> Result<Before, RefreshError> {
        let seen = wait::look(self.with, self.service)
            .await
            .map_err(|shortfall| RefreshError::NotKnown(shortfall.found()))?;
        let healthy = !matches!(seen.facts.health, Health::Unhealthy(_));
        let instance = match (seen.facts.presence, &self.service.kind) {
            (Presence::Running(instance), _) => Some(instance.id),
            (_, ServiceKind::Command { .. }) => None,
            (Presence::OutOfSight, _) => {
                return Err(RefreshError::NotKnown("it can't be observed from here".to_owned()));
            }
            (Presence::Absent, _) => {
                return Err(RefreshError::NotRunning("it is not on this node".to_owned()));
            }
            (Presence::Down(reason), _) => return Err(RefreshError::NotRunning(reason)),
            (Presence::Unknown(reason), _) => return Err(RefreshError::NotKnown(reason)),
        };
        Ok(Before { instance, healthy })
    }

    /// Restarts or signals the service. Errors that can be found beforehand are found before the
    /// one attempt for a certificate counts as made; a failure that had no effect does not count.
    async fn send_refresh(&mut self, before: Before) -> Result<Attempt, RefreshError> {
        let how = How::prepare(&self.service.kind, before.instance.as_deref(), self.with).await?;
        self.with.caller.may_restart(self.step).await?;
        let (began, successor) = (Instant::now(), how.ends_it());
        let done = how.carry_out(self.with).await;
        self.restarted = done.as_ref().err().is_none_or(RefreshError::may_have_reached_it);
        Ok(Attempt { began, before, successor, trouble: done? })
    }

    /// First another instance runs, then it is healthy, then it shows what it uses. Returns since
    /// when it was healthy, and the evidence that it is fresh.
    async fn verify_restart(
        &self,
        attempt: &Attempt,
    ) -> Result<(Instant, Option<Evidence>), RefreshError> {
        let limits = self.with.limits;
        if attempt.successor {
            let found = wait::until(self.with, self.service, limits.successor, |seen| {
                self.runs_anew(seen, attempt)
            })
            .await;
            found.map_err(|shortfall| self.no_successor(shortfall, attempt))?;
        }
        let healthy = |seen: &ServiceObservation| {
            self.runs_anew(seen, attempt).and_then(|()| wait::healthy(seen))
        };
        let found = wait::until(self.with, self.service, limits.healthy, healthy).await;
        found.map_err(|shortfall| never_healthy(shortfall, limits.healthy))?;
        let healthy_at = Instant::now();
        Ok((healthy_at, self.verify_uptake(attempt).await?))
    }

    /// Waits for evidence that a healthy service uses the new credential. Where it can't be
    /// verified, the wait is short, and its absence is no error.
    async fn verify_uptake(&self, attempt: &Attempt) -> Result<Option<Evidence>, RefreshError> {
        let limits = self.with.limits;
        let began = Instant::now();
        let judge = |seen: &ServiceObservation| {
            self.runs_anew(seen, attempt).and_then(|()| wait::healthy(seen))?;
            match self.is_fresh(seen, attempt) {
                Err(Shortfall::Unknown(_)) if began.elapsed() >= limits.proof => Ok(None),
                result => result,
            }
        };
        match wait::until(self.with, self.service, limits.healthy, judge).await {
            Err(Shortfall::Unknown(_)) => Ok(None),
            result => result.map_err(|shortfall| never_healthy(shortfall, limits.healthy)),
        }
    }

    /// For one that was unhealthy before: that it is so still is no fault of the refresh.
    async fn verify_uptake_while_unhealthy(
        &self,
        attempt: &Attempt,
    ) -> Result<Option<Evidence>, RefreshError> {
        let judge = |seen: &ServiceObservation| {
            self.runs_anew(seen, attempt).and_then(|()| self.is_fresh(seen, attempt))
        };
        match wait::until(self.with, self.service, self.with.limits.proof, judge).await {
            Err(Shortfall::Unknown(_)) => Ok(None),
            result => result.map_err(|shortfall| never_healthy(shortfall, self.with.limits.proof)),
        }
    }

    fn no_successor(&self, shortfall: Shortfall, attempt: &Attempt) -> RefreshError {
        let within = self.with.limits.successor;
        match (shortfall, &self.service.kind, &attempt.trouble) {
            (Shortfall::Stopped, ..) => RefreshError::Stopped,
            (shortfall, ServiceKind::StaticPod { .. }, None) => {
                RefreshError::NoSuccessor { within, found: shortfall.found() }
            }
            (shortfall, _, Some(trouble)) => RefreshError::NoSuccessor {
                within,
                found: format!("{}; {trouble}", shortfall.found()),
            },
            (shortfall, ..) => never_healthy(shortfall, within),
        }
    }

    fn runs_anew(&self, seen: &ServiceObservation, attempt: &Attempt) -> Result<(), Shortfall> {
        let instance = match (wait::running(seen), &self.service.kind) {
            (Err(_), ServiceKind::Command { .. }) => return Ok(()),
            (instance, _) => instance?,
        };
        let same = attempt.before.instance.as_deref() == Some(instance.id.as_str());
        if attempt.successor && same {
            Err(Shortfall::Missing("the old one still runs".to_owned()))
        } else {
            Ok(())
        }
    }

    fn is_fresh(
        &self,
        seen: &ServiceObservation,
        attempt: &Attempt,
    ) -> Result<Option<Evidence>, Shortfall> {
        let instance = seen.facts.presence.instance().map(|instance| instance.id.as_str());
        let same_process = instance.is_none() || instance == attempt.before.instance.as_deref();
        wait::fresh(seen, &self.step.contents, same_process)
    }

    fn uptake(&self, evidence: Option<Evidence>) -> Uptake {
        match evidence {
            Some(evidence) => Uptake::Verified(evidence),
            None if self.service.uses.iter().all(|one| one.served_at.is_none()) => {
                Uptake::Unverified("no served_at")
            }
            None => Uptake::Unverified("nothing shows which certificate it uses"),
        }
    }
}

fn never_healthy(shortfall: Shortfall, within: Duration) -> RefreshError {
    match shortfall {
        Shortfall::Stopped => RefreshError::Stopped,
        Shortfall::Stale(StaleList(list)) => RefreshError::StillStale(StaleList(list)),
        Shortfall::Missing(found) | Shortfall::Unhealthy(found) | Shortfall::Unknown(found) => {
            RefreshError::NeverHealthy { within, found }
        }
    }
}
