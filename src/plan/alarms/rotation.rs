//! The alarms about the replacement or renewal of the root CA: while it is under way, and where it
//! needs an operator.

use super::situation::{AlarmAssessment, AlarmInputs, AlarmSituation, RotationInputs};
use crate::model::{Alarm, AlarmKind};

pub(super) fn add(
    situation: &AlarmSituation<'_>,
    seen: &AlarmInputs<'_>,
    assessment: &mut AlarmAssessment,
) {
    match seen.rotation {
        RotationInputs::NotSeen => {
            assessment.unseen([AlarmKind::RootCaUpdate, AlarmKind::RootCaBlocked]);
        }
        RotationInputs::None => {}
        RotationInputs::UnderWay { progress, held } => {
            assessment.alarms.push(under_way(situation, progress));
            assessment.alarms.extend(held.map(|reason| blocked(situation, reason)));
        }
    }
}

fn under_way(situation: &AlarmSituation<'_>, progress: &str) -> Alarm {
    situation.on_host(
        AlarmKind::RootCaUpdate,
        Vec::new(),
        "The root CA of the cluster is being updated.",
        progress.to_owned(),
        "Wait until it is over, and upgrade nothing meanwhile. kubecertd ca rotate status shows \
         how far it is; kubecertd ca rotate back undoes it.",
    )
}

fn blocked(situation: &AlarmSituation<'_>, reason: &str) -> Alarm {
    situation.on_host(
        AlarmKind::RootCaBlocked,
        Vec::new(),
        "The update of the root CA does not go on.",
        reason.to_owned(),
        "Remove the cause that the reason names: the next pass goes on. kubecertd ca rotate back \
         undoes it.",
    )
}
