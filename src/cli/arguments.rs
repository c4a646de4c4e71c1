//! The commands, their options, and the help texts.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::{San, Timestamp};

/// Keeps the certificates of a Kubernetes node from expiring.
#[derive(Debug, Parser)]
#[command(name = "kubecertd", version, arg_required_else_help = true, after_help = EXIT_CODES)]
pub struct Arguments {
    /// Work on another root directory, such as the mounted disk of a node that is off: every path
    /// of the node, absolute symlinks included, resolves inside it; the FILE of --config, the
    /// CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of
    /// sign are files of this system
    #[arg(long, global = true, value_name = "DIR", default_value = "/")]
    pub root: PathBuf,
    /// Read this configuration, and the drop-ins beside it, instead of
    /// /etc/kubecertd/kubecertd.toml below the root directory
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 fine; 1 failed; 2 wrong usage; 3 something is due \
    or wrong (check, status, ca check, ca verify), is still due or expired (renew), or an alarm is \
in force (alarms); 4 partly done (renew, restore); 5 deferred, or the clock is not trusted \
(renew); 75 another kubecertd holds the lock; 78 the configuration is wrong, or this kind of node \
is not supported.";

const RESTORE: &str = "\
A restore is made like a renewal: the backup is checked before anything is replaced, and the \
replaced files are backed up, so it can be undone. Only a certificate with its matching key is \
restored.

  kubecertd restore --list                    lists the backups
  kubecertd restore scheduler.conf            restores its newest complete backup
  kubecertd restore --from 20261121T000000Z   restores all of this backup";

const CA_INSTALL: &str = "\
The certificate passes the checks of kubecertd ca check first. It and its key are written as
kubeadm writes its own, to /etc/kubernetes/pki/ca.crt and ca.key, or to the files that the
configuration names. kubeadm init uses those in its own directory instead of making a root CA. On a
control-plane node that joins without --certificate-key, they are two of the files that kubeadm join
needs there; a worker needs none of them. Where the same certificate is there without its key, only
the key is written.

  openssl pkcs12 -nodes -in root.p12 -out root.pem   converts PKCS#12
  kubecertd ca check root.pem                        says whether it can be used
  kubecertd ca install root.pem
  kubeadm init ...";

const CA_RENEW: &str = "\
The root CA, and those that expire with it: of etcd and the front proxy. A new certificate has the
name, the key and all extensions of the old one, and expires later: as kubeadm's
caCertificateValidityPeriod says, or after the time for which the old one was valid. That of the
root CA gets into the kubeconfigs of this node too; the old files are in a backup. Each is made
once: all other nodes get the same certificates.

  kubecertd ca renew --offline       on one control-plane node that has the keys
  kubecertd renew                    there: signs again what has expired with the CAs
  kubecertd ca trust cas.pem         on every other node, workers included, with their certificates
  kubecertd renew                    there";

const CA_ROTATE: &str = "\
The node goes through the levels; no request fails meanwhile, and each level can be undone.

  staged      kube-controller-manager signs with files of its own
  trusted     everything trusts both root CAs
  clients     all client certificates are of the new one
  servers     the API servers' certificates are, and new ones are
  distrusted  only the new one is trusted

  kubecertd ca rotate start      makes a new root CA, and goes on up to servers
  kubecertd ca rotate status
  kubecertd ca rotate complete   goes to distrusted, when everything outside of the cluster trusts
                                 the new root CA: kubecertd ca export prints both

The same root CA is valid for longer, with its key, on all nodes, after

  kubecertd ca rotate start --renew   no other certificate changes, and it ends by itself";

const DEMO: &str = "\
The demo takes about a minute, and needs neither root nor a network. It shows check and renew, \
and then the daemon: a scheduled pass, an alarm that is raised and cleared, a file that is \
changed, and status.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Show every certificate, when it expires, and what should be done about it; changes nothing
    Check(CheckOptions),
    /// Renew what is due, rewrite the kubeconfigs, and have the services use the new certificates
    Renew(RenewOptions),
    /// Restore replaced files from the backups
    #[command(after_help = RESTORE)]
    Restore(RestoreOptions),
    /// Run as a daemon: a pass every night, and whenever something changed
    Run(RunOptions),
    /// Show what the daemon did and will do, and what needs attention; also while it does not run
    Status(StatusOptions),
    /// Show the alarms in force, with the reason and what to do about each
    Alarms(AlarmsOptions),
    /// Renew nothing for a while, unless it is urgent, and make no lost file
    Hold(HoldOptions),
    /// Show or export a CA certificate, and verify who trusts it; check and install a root CA of
    /// your own
    Ca {
        #[command(subcommand)]
        command: CaCommand,
    },
    /// Make a new key and a signing request for an external CA; the key stays on this node
    Csr(CsrOptions),
    /// Install the certificate that an external CA signed for such a request
    Install(InstallOptions),
    /// Sign such a request of another node's kubelet with the root CA of the cluster
    Sign(SignOptions),
    /// Check or show the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Build a throw-away control-plane node with certificates in many states, and do the whole job
    /// on it
    #[command(after_help = DEMO)]
    Demo(DemoOptions),
}

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Say whether the configuration is valid, and if not, where it is wrong
    Check,
    /// Show every setting in force and where it comes from, and the managed files
    Show,
}

#[derive(Debug, Args)]
pub(super) struct CsrOptions {
    /// The credentials to request, by the names that check shows
    #[arg(value_name = "NAME", conflicts_with = "all")]
    pub names: Vec<String>,
    /// Every credential of an external CA
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub(super) struct InstallOptions {
    /// The credential, by the name that check shows
    pub name: String,
    /// The signed certificate, in PEM
    #[arg(value_name = "CERT")]
    pub certificate: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct SignOptions {
    /// The Node whose kubelet made the request, by the name that kubectl get nodes shows; the
    /// cluster has to have it
    #[arg(long, value_name = "NAME")]
    pub node: String,
    /// The request, in PEM; without it, it is read from standard input
    #[arg(value_name = "REQUEST")]
    pub request: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CaCommand {
    /// Show the certificate, its fingerprint, the hash that kubeadm join wants, and how long it is
    /// valid
    Show(CaOptions),
    /// Print the certificate as PEM, for other servers that have to trust it; never its key
    Export(CaOptions),
    /// Check whether a file or a server trusts the CA and is signed by it
    Verify {
        /// A file with certificates, a kubeconfig, or the host:port of a TLS server
        #[arg(value_name = "FILE|HOST:PORT")]
        target: String,
        #[command(flatten)]
        options: CaOptions,
    },
    /// Check whether a certificate can be the root CA of a cluster; changes nothing
    Check(NewRootOptions),
    /// Renew the CAs with their own keys on this node: every certificate that they issued stays
    /// valid
    #[command(after_help = CA_RENEW)]
    Renew(RenewCaOptions),
    /// Replace the root CA of a cluster with one node, level by level, or renew that of any cluster
    #[command(after_help = CA_ROTATE)]
    Rotate {
        #[command(subcommand)]
        command: RotateCommand,
    },
    /// Put the CAs that another node renewed in place on this one
    Trust {
        /// Their certificates, in PEM
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Install a root CA of your own, before kubeadm init or kubeadm join; overwrites nothing
    #[command(after_help = CA_INSTALL)]
    Install(NewRootOptions),
}

#[derive(Debug, Subcommand)]
pub(super) enum RotateCommand {
    /// Show every node and object that a replacement would touch; changes nothing
    Plan(StartRotationOptions),
    /// Begin: make a new root CA, take one of your own, or renew the present one
    Start(StartRotationOptions),
    /// Show how far the nodes are, and what is waited for
    Status,
    /// Change nothing any more, on any node
    Pause {
        /// The reason, which status shows
        #[arg(value_name = "REASON")]
        reason: String,
    },
    /// Go on after a pause
    Resume,
    /// Order the next level, after start --step
    Step,
    /// Go back: the old root CA signs again, and the new one is trusted no more
    Back,
    /// Trust the old root CA no more, on any node: the last level
    Complete,
}

#[derive(Debug, Args)]
pub(super) struct StartRotationOptions {
    /// Renew the present root CA with its own key: no other certificate changes
    #[arg(long, conflicts_with_all = ["subject", "certificate", "step"])]
    pub renew: bool,
    /// The subject of the new root CA, such as CN=kubernetes,O=Example; without it, that of the
    /// present one
    #[arg(long, value_name = "SUBJECT", conflicts_with = "certificate")]
    pub subject: Option<String>,
    /// A root CA of your own, in PEM
    #[arg(long, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// Its private key, in PEM; without it, one in the file of the certificate
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<PathBuf>,
    /// Accept a CA that the system's trust store holds
    #[arg(long, requires = "certificate")]
    pub allow_trusted_root: bool,
    /// Wait for ca rotate step after each level
    #[arg(long)]
    pub step: bool,
    /// Sign although the clock is not trusted
    #[arg(long)]
    pub trust_clock: bool,
}

#[derive(Debug, Args)]
pub(super) struct RenewCaOptions {
    /// Work on this node alone, without the API server, which may be down
    #[arg(long, required = true)]
    pub offline: bool,
    /// Sign although the clock is not trusted
    #[arg(long)]
    pub trust_clock: bool,
}

#[derive(Debug, Args)]
pub(super) struct NewRootOptions {
    /// The certificate, in PEM
    #[arg(value_name = "CERT")]
    pub certificate: PathBuf,
    /// Its private key, in PEM; without it, one in the file of the certificate
    #[arg(value_name = "KEY")]
    pub key: Option<PathBuf>,
    /// Accept a CA that the system's trust store holds: every client certificate of that CA is
    /// then valid in the cluster
    #[arg(long)]
    pub allow_trusted_root: bool,
}

#[derive(Debug, Args)]
pub(super) struct CaOptions {
    /// Another CA than the cluster's root CA, by the name that check shows
    #[arg(long = "ca", alias = "authority", value_name = "NAME")]
    pub authority: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct CheckOptions {
    /// Output format; json is what kubeadm certs check-expiration -o json prints, with more fields
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    pub output: Format,
    /// Judge as of another time: 2027-03-01 or 2027-03-01T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A table
    Table,
    /// The table, and the services that use the certificates
    Wide,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(super) struct StatusOptions {
    /// Show it again every two seconds, until interrupted
    #[arg(long, conflicts_with = "cluster")]
    pub(super) watch: bool,
    /// Show all nodes of the cluster, by what their own kubecertd reported
    #[arg(long)]
    pub(super) cluster: bool,
    /// With --cluster: the kubeconfig of a user who may list Nodes, a file of this system; without
    /// it $KUBECONFIG, /etc/kubernetes/admin.conf or ~/.kube/config
    #[arg(long, value_name = "FILE", requires = "cluster")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// With --cluster: output format
    #[arg(
        short,
        long,
        value_name = "FORMAT",
        value_enum,
        default_value_t = ClusterFormat::Table,
        requires = "cluster"
    )]
    pub(super) output: ClusterFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ClusterFormat {
    /// The nodes that need attention, and how many do not
    Table,
    /// All nodes
    Wide,
    /// All nodes with their reports, for programs
    Json,
}

#[derive(Debug, Args)]
pub(super) struct AlarmsOptions {
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value_t = ListFormat::List)]
    pub output: ListFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// A paragraph for each alarm
    List,
    /// For programs
    Json,
}

#[derive(Debug, Args)]
pub(super) struct RenewOptions {
    /// Only these credentials, by the names that check shows; without a NAME, all that are due
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// Show what would be done and why; changes nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Renew also what is not due yet, and defer nothing
    #[arg(long)]
    pub force: bool,
    /// With --force, --add-san or --remove-san: renew also where the new certificate would expire
    /// before the present one, because the CA does, or the configured validity is shorter
    #[arg(long)]
    pub allow_shorter: bool,
    /// On a control-plane node of several, renew also what expired more than 30 days ago: the node
    /// may have been removed from its cluster since
    #[arg(long, alias = "revive")]
    pub include_long_expired: bool,
    /// Add this DNS name or IP address to the new certificate; may be given several times, with
    /// one NAME
    #[arg(long, value_name = "SAN")]
    pub add_san: Vec<San>,
    /// Leave this one out
    #[arg(long, value_name = "SAN")]
    pub remove_san: Vec<San>,
    /// Sign although the clock is not trusted
    #[arg(long)]
    pub trust_clock: bool,
}

#[derive(Debug, Args)]
pub(super) struct RestoreOptions {
    /// The credentials to restore, by the names that check shows
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// List the backups, the newest first, with their content; changes nothing
    #[arg(long)]
    pub list: bool,
    /// Use this backup, by the name that --list shows, instead of the newest one that holds the
    /// complete credential
    #[arg(long, value_name = "BACKUP")]
    pub from: Option<String>,
    /// Restore also a certificate that is expired, or that the present CA did not sign
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub(super) struct DemoOptions {
    /// Build it in this empty directory and leave it there, to be looked at with --root
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct RunOptions {
    /// Make one pass and exit, for a timer
    #[arg(long)]
    pub once: bool,
}

#[derive(Debug, Args)]
pub(super) struct HoldOptions {
    /// When the hold is over: 2027-03-01 or 2027-03-01T12:00:00Z
    #[arg(
        long,
        value_name = "TIME",
        value_parser = parse_time,
        required_unless_present = "end",
        requires = "reason"
    )]
    pub until: Option<Timestamp>,
    /// The reason, which is shown with the hold
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// End the hold now
    #[arg(long, conflicts_with_all = ["until", "reason"])]
    pub end: bool,
}

/// Parses a date, taken as its first second in UTC, or a date and time with a zone.
fn parse_time(text: &str) -> Result<Timestamp, String> {
    let seconds = match text.parse::<jiff::Timestamp>() {
        Ok(time) => time.as_second(),
        Err(_) => {
            let date: jiff::civil::Date = text
                .parse()
                .map_err(|_| "give a time such as 2027-03-01 or 2027-03-01T12:00:00Z".to_owned())?;
            date.to_zoned(jiff::tz::TimeZone::UTC)
                .map_err(|e| e.to_string())?
                .timestamp()
                .as_second()
        }
    };
    Ok(Timestamp::from_seconds(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        use clap::CommandFactory as _;
        Arguments::command().debug_assert();
    }

    #[test]
    fn earlier_names_of_flags_still_work() {
        for earlier in [
            ["kubecertd", "renew", "--revive"].as_slice(),
            &["kubecertd", "ca", "show", "--authority", "etcd-ca"],
            &["kubecertd", "ca", "export", "--authority", "etcd-ca"],
            &["kubecertd", "ca", "verify", "localhost:6443", "--authority", "etcd-ca"],
        ] {
            assert!(Arguments::try_parse_from(earlier).is_ok(), "{earlier:?}");
        }
    }

    #[test]
    fn times_are_dates_or_timestamps() {
        assert_eq!(
            parse_time("2027-11-21").map(|t| t.to_string()),
            Ok("2027-11-21T00:00:00Z".to_owned())
        );
        assert_eq!(
            parse_time("2027-11-21T18:14:42+01:00").map(|t| t.to_string()),
            Ok("2027-11-21T17:14:42Z".to_owned())
        );
        assert!(parse_time("tomorrow").is_err());
    }
}
