//! Control groups: the container or systemd unit of a process.

/// The parts of a process's control group that are used here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cgroup {
    /// The id of its container, 64 hex digits as the container runtime knows it; where containers
    /// are nested, of the innermost.
    pub container: Option<String>,
    /// The systemd service of the machine that it belongs to, such as `kubelet.service`, when it is
    /// in no container.
    pub unit: Option<String>,
    /// The service whose own group it is in, directly below `/system.slice` and in no group below.
    direct: Option<String>,
}

impl Cgroup {
    /// Parses /proc/PID/cgroup: a line `number:controllers:path` for each hierarchy, a single one
    /// under version 2.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let paths = || text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
        let container = paths().find_map(container);
        let unit = if container.is_none() { paths().find_map(unit) } else { None };
        let direct = paths()
            .filter_map(|path| path.strip_prefix("/system.slice/"))
            .find(|name| unit.as_deref() == Some(name))
            .map(ToOwned::to_owned);
        Self { container, unit, direct }
    }

    /// Whether it is in the group of this service of the machine, `/system.slice/NAME`, and neither
    /// in a container nor in a group below.
    #[must_use]
    pub fn is_of_service(&self, name: &str) -> bool {
        self.direct.as_deref() == Some(name)
    }
}

/// Parses `/kubepods/burstable/pod.../<id>` (cgroupfs),
/// `/kubepods.slice/.../cri-containerd-<id>.scope`, `.../crio-<id>.scope` (systemd), and
/// `kubepods-....slice:cri-containerd:<id>`, where runtime and kubelet disagree on the driver. More
/// groups may follow: crun makes one, and a container may have its own.
fn container(path: &str) -> Option<String> {
    path.rsplit('/').find_map(container_id)
}

fn container_id(part: &str) -> Option<String> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let (prefix, id) = part.split_at_checked(part.len().checked_sub(64)?)?;
    // CRI-O's own process for each container has a group named after it.
    let is_containers =
        (prefix.is_empty() || prefix.ends_with(['-', ':'])) && !prefix.ends_with("conmon-");
    let is_id = id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_containers && is_id).then(|| id.to_owned())
}

/// Parses `/system.slice/kubelet.service`, with slices between the two, and groups of the service's
/// own below.
fn unit(path: &str) -> Option<String> {
    let below = path.strip_prefix("/system.slice/")?;
    below
        .split('/')
        .find(|part| !part.ends_with(".slice"))
        .filter(|part| part.ends_with(".service"))
        .map(ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn of(line: &str) -> (bool, Option<String>) {
        let cgroup = Cgroup::parse(&line.replace("<id>", ID));
        assert!(cgroup.container.as_deref().is_none_or(|container| container == ID), "{line}");
        (cgroup.container.is_some(), cgroup.unit)
    }

    #[test]
    fn container_is_recognised_by_id() {
        let lines = [
            "0::/kubepods/burstable/pod8d3d/<id>\n",
            "12:memory:/kubepods/besteffort/pod8d3d/<id>\n\
             1:name=systemd:/kubepods/besteffort/pod8d3d/<id>\n0::/\n",
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod8d3d.slice/\
             cri-containerd-<id>.scope",
            "11:cpu,cpuacct:/kubepods.slice/kubepods-pod1.slice/cri-containerd-<id>.scope\n",
            "0::/kubepods.slice/kubepods-burstable.slice/crio-<id>.scope",
            "0::/kubepods.slice/crio-<id>.scope/container",
            "0::/system.slice/docker-<id>.scope",
            "0::/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:<id>",
            "0::/docker/ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff/\
             kubelet/kubepods/pod1/<id>",
            "0::/kubepods/pod1/<id>/init.scope",
            // Seen from a control group namespace of its own, and below a group of kubelet's.
            "0::/../../kubepods.slice/kubepods-pod1.slice/cri-containerd-<id>.scope",
            "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/\
             kubelet-kubepods-burstable-pod8d3d.slice/cri-containerd-<id>.scope",
            "0::/../cri-containerd-<id>.scope",
            // CRI-O with runc and with crun; the uid of a static pod is a hash.
            "0::/kubepods.slice/kubepods-burstable.slice/\
             kubepods-burstable-podd4b8c80a6e7dbf10b0db6ad4be01af3b.slice/crio-<id>.scope",
            "0::/../../kubepods-burstable-podd4b8c80a6e7dbf10b0db6ad4be01af3b.slice/\
             crio-<id>.scope/container",
            "0::/kubepods/burstable/pod8d3d/crio-<id>",
        ];
        for line in lines {
            assert_eq!(of(line), (true, None), "{line}");
        }
    }

    #[test]
    fn unit_is_recognised_by_name() {
        let cases = [
            ("0::/system.slice/kubelet.service", "kubelet.service"),
            (
                "12:cpu:/\n5:memory:/system.slice\n1:name=systemd:/system.slice/etcd.service\n",
                "etcd.service",
            ),
            ("0::/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
            ("0::/system.slice/containerd.service/sub/group", "containerd.service"),
        ];
        for (line, unit) in cases {
            assert_eq!(of(line), (false, Some(unit.to_owned())), "{line}");
        }
    }

    #[test]
    fn service_is_the_one_of_the_machine_itself() {
        let is_of_service = |line: &str| Cgroup::parse(line).is_of_service("kubelet.service");
        assert!(is_of_service("0::/system.slice/kubelet.service\n"));
        assert!(is_of_service("4:cpu:/\n1:name=systemd:/system.slice/kubelet.service\n"));
        for line in [
            "0::/system.slice/kubelet.service/sub\n",
            "0::/system.slice/system-kubelet.slice/kubelet.service\n",
            "0::/kubelet.service\n",
            "0::/user.slice/system.slice/kubelet.service\n",
            "0::/system.slice/other.service/system.slice/kubelet.service\n",
            "0::/lxc/guest/system.slice/kubelet.service\n",
            "0::/system.slice/kubelet.service2\n",
        ] {
            assert!(!is_of_service(line), "{line}");
        }
        let nested = format!("0::/docker/{ID}/system.slice/kubelet.service\n");
        assert!(!is_of_service(&nested));
    }

    #[test]
    fn other_cgroups_are_neither_container_nor_unit() {
        let lines = [
            "",
            "0::/",
            "torn",
            "0::/init.scope",
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service",
            "0::/system.slice/session.scope/x.service",
            "0::/machine.slice/crio-conmon-<id>.scope",
            "0::/kubepods.slice/kubepods-pod8d3d.slice/crio-conmon-<id>.scope",
            "0::/kubepods/pod8d3d/crio-conmon-<id>",
            // The pod's own group, and services of which only a part of the path is seen.
            "0::/kubepods.slice/kubepods-burstable.slice/\
             kubepods-burstable-podd4b8c80a6e7dbf10b0db6ad4be01af3b.slice",
            "0::/../kubelet.service",
            "0::/../../system.slice/kubelet.service",
            "0::/kubepods/pod1/0<id>",
            "0::/kubepods/pod1/0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF0123456789ABCDEF",
            "0::/kubepods/pod1/0123456789abcdef",
            "0::/kubepods/pod1/äääääääääääääääääääääääääääääääääääääääääää",
        ];
        for line in lines {
            assert_eq!(of(line), (false, None), "{line}");
        }
    }
}
