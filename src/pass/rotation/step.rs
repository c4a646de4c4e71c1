//! One step of a rotation on this node that writes files.

use super::kept::{Rotation, kubelet_api, root_authority};
use crate::act::kubelet::{IssuedClient, received};
use crate::act::{
    CaFiles, Issuer, Job, Renewal, RotationFiles, RotationStepError, Written, algorithm, renew,
};
use crate::cluster::request_kubelet_client;
use crate::credentials::{ObservedFiles, Stored, load, load_authority};
use crate::formats::x509::{Certificate, PrivateKey, kubelet_template, request};
use crate::model::{
    Authority, BridgeHolder, Chain, Credential, CredentialFacts, Digest, FoundControlPlane,
    Material, RootCa, RotationStep, SanChange, Urgency,
};
use crate::observe::{
    ControllerManager, Node, SIGNING_FLAGS, controller_manager_manifest, find_rotation,
    is_for_servers, issued_by_ca, signing_files, trust_files,
};
use crate::pass::ca_renewal::{CaRenewalError, put_in_place};
use crate::pass::memory::replaced_ca_certificates;
use crate::pass::{Pass, policy, renewal};
use crate::plan::{Judged, terms_by};
use crate::state::KeptRotation;
use crate::store::LARGEST_FILE;
use crate::sys::block_on;

/// What the journal says of a certificate that is issued in a rotation.
const REASON: &str = "the root CA is being replaced";

/// Which certificates a step issues.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holders {
    Clients,
    Servers,
}

impl Pass<'_> {
    /// Makes a step, and notes what it put in place.
    pub(super) fn make_step(
        &mut self,
        rotation: &Rotation,
        step: RotationStep,
    ) -> Result<(), String> {
        let authority = root_authority(self.node).map_err(|e| e.to_string())?;
        match step {
            RotationStep::Sign(_)
            | RotationStep::RenewOthers
            | RotationStep::WriteCa(_)
            | RotationStep::SwapCa(..)
            | RotationStep::TrustInKubeconfigs(_)
            | RotationStep::TrustInKubelet(_)
            | RotationStep::DropBridge(_)
            | RotationStep::WriteFrontProxyCa(_)
            | RotationStep::SwapFrontProxyCa(..) => self.write_files(rotation, authority, step),
            RotationStep::IssueClients(root) => {
                self.issue_by_root(rotation, authority, root, Holders::Clients)
            }
            RotationStep::IssueServer(root) => {
                self.issue_by_root(rotation, authority, root, Holders::Servers)
            }
            RotationStep::IssueFrontProxyClient(root) => {
                self.issue_front_proxy_client(rotation, root)
            }
            // A certificate that is loaded shows its bridge only where both came together.
            RotationStep::AddBridge(holder) => {
                let again = self.with_bridge(rotation, holder)?;
                self.make_step(rotation, again)
            }
            RotationStep::IssueKubeletClient(root) => self.issue_kubelet_client(rotation, root),
            RotationStep::IssueKubeletServer(_) => Err(NOT_BY_ROOT.to_owned()),
            RotationStep::Await(_) | RotationStep::Restart(_) => Ok(()),
        }
    }

    /// The step that issues certificates by the root that has issued them, with the bridge.
    fn with_bridge(
        &self,
        rotation: &Rotation,
        holder: BridgeHolder,
    ) -> Result<RotationStep, String> {
        let files = ObservedFiles::of(&self.node.root);
        let found = find_rotation(self.node, &files, &rotation.intent, None);
        let found = found.map_err(|e| e.to_string())?;
        let first = |all: fn(&FoundControlPlane) -> &Vec<Chain>| {
            let first = found.control_plane.as_ref().and_then(|own| all(own).first());
            first.map_or(RootCa::Old, |chain| chain.issuer)
        };
        Ok(match holder {
            BridgeHolder::Clients => RotationStep::IssueClients(first(|own| &own.clients)),
            BridgeHolder::Server => RotationStep::IssueServer(first(|own| &own.servers)),
            BridgeHolder::KubeletClient => {
                RotationStep::IssueKubeletClient(found.kubelet_client.issuer)
            }
            BridgeHolder::KubeletServer => return Err(NOT_BY_ROOT.to_owned()),
        })
    }

    fn write_files(
        &mut self,
        rotation: &Rotation,
        authority: &Authority,
        step: RotationStep,
    ) -> Result<(), String> {
        let node = self.node;
        let trusted = || trust_files(&ObservedFiles::of(&node.root), &node.catalog);
        let before = trusted();
        let written = match step {
            RotationStep::RenewOthers => self.renew_others(rotation).map_err(|e| e.to_string()),
            _ => self.written_by(rotation, authority, step).map_err(|e| e.to_string()),
        }?;
        let trusts =
            matches!(step, RotationStep::TrustInKubeconfigs(_) | RotationStep::TrustInKubelet(_));
        // One that is left out would be left out again.
        let left_out = (trusts && !written.left.is_empty()).then(|| written.left.join("; "));
        self.note(written.left);
        if matches!(step, RotationStep::Sign(_)) {
            let note = self.remember_manifest();
            self.note(note);
        }
        self.report.written.extend(written.files);
        let replaced = replaced_ca_certificates(&before, &trusted());
        self.note_replaced_now(replaced);
        self.survey_again();
        left_out.map_or(Ok(()), Err)
    }

    /// Puts the renewed certificates of other CAs in place.
    fn renew_others(&mut self, rotation: &Rotation) -> Result<Written, CaRenewalError> {
        let now = self.orders.clock.now();
        let others = &rotation.intent.others;
        let renewed = put_in_place(self.node, &mut self.store, others, now)?;
        let files = renewed.cas.into_iter().flat_map(|ca| ca.written).collect();
        Ok(Written { files, left: renewed.notes })
    }

    /// Remembers the manifest as kubecertd has written it: else it would look like the work of
    /// kubeadm, for which renewals and restarts wait.
    fn remember_manifest(&self) -> Option<String> {
        let node = self.node;
        let file = controller_manager_manifest(node)?;
        let content = node.root.read(&file, LARGEST_FILE).ok()?;
        let state = &node.settings.paths.state;
        let (kept, _) = KeptRotation::read(&node.root, state);
        let manifest = Some(Digest::of(content.bytes.expose()).to_string());
        KeptRotation { manifest, ..kept }.write(&node.root, state).err().map(|e| e.to_string())
    }

    fn written_by(
        &mut self,
        rotation: &Rotation,
        authority: &Authority,
        step: RotationStep,
    ) -> Result<Written, RotationStepError> {
        let node = self.node;
        let catalog = &node.catalog;
        let roots = rotation.intent.roots();
        let files = RotationFiles {
            root: &node.root,
            ca: CaFiles { authority, certificates: &roots, keys: &rotation.keys },
            intent: &rotation.intent,
            now: self.orders.clock.now(),
            backups: usize::from(node.settings.backups.keep.get()),
        };
        let store = &mut self.store;
        let kubelets = catalog.kubeconfigs.values();
        let of_front_proxy = || front_proxy(node, rotation).map(|ca| RotationFiles { ca, ..files });
        match step {
            RotationStep::Sign(signing) => {
                let found = ControllerManager::read(node, &node.root);
                let found = found.map_err(RotationStepError::Flags)?;
                let values = found.signing_values(authority).map_err(RotationStepError::Flags)?;
                let [of_certificate, of_key] = SIGNING_FLAGS;
                let [certificate, key] = values.for_files(signing);
                let flags = [(of_certificate, certificate), (of_key, key)];
                let own = signing_files(authority);
                files.sign_with(store, signing, &found.manifest, &own, flags)
            }
            RotationStep::WriteCa(ca) => {
                files.write_ca(store, ca, None, issued_by_ca(catalog, authority))
            }
            RotationStep::SwapCa(ca, key) => {
                files.write_ca(store, ca, Some(key), issued_by_ca(catalog, authority))
            }
            RotationStep::WriteFrontProxyCa(ca) => {
                let files = of_front_proxy()?;
                files.write_ca(store, ca, None, issued_by_ca(catalog, files.ca.authority))
            }
            RotationStep::SwapFrontProxyCa(ca, key) => {
                let files = of_front_proxy()?;
                files.write_ca(store, ca, Some(key), issued_by_ca(catalog, files.ca.authority))
            }
            RotationStep::TrustInKubeconfigs(trusted) => {
                let own: Vec<_> = catalog.kubeconfigs_of_others().map(|(_, file)| file).collect();
                files.trust(store, own.iter(), trusted)
            }
            RotationStep::TrustInKubelet(trusted) => files.trust(store, kubelets, trusted),
            RotationStep::DropBridge(BridgeHolder::KubeletClient | BridgeHolder::KubeletServer) => {
                let is_kubelets = |one: &&Credential| catalog.kubeconfigs.contains_key(&one.name);
                files.drop_bridges(store, catalog.credentials.iter().filter(is_kubelets))
            }
            RotationStep::DropBridge(_) => {
                files.drop_bridges(store, issued_by_ca(catalog, authority))
            }
            _ => Ok(Written::default()),
        }
    }

    /// Issues the certificates of one side that another root issued, or that lack the bridge.
    fn issue_by_root(
        &mut self,
        rotation: &Rotation,
        authority: &Authority,
        root: RootCa,
        holders: Holders,
    ) -> Result<(), String> {
        let intent = &rotation.intent;
        let certificate = intent.root(root);
        let key = rotation.keys.of(root).map_err(|e| e.to_string())?;
        let behind: Vec<_> = intent.bridge_behind(root).into_iter().cloned().collect();
        let wanted = intent.bridges().behind(root);
        let is_to_be_issued = |stored: &Stored| {
            let is_server = is_for_servers(&stored.certificate);
            let found = intent.chain_of(&stored.certificate, &stored.further);
            is_server == (holders == Holders::Servers) && found != Some(wanted)
        };
        self.issue(authority, Issuer { certificate, key, behind: &behind }, is_to_be_issued)
    }

    /// Issues the client certificates of the front proxy that its other CA issued.
    fn issue_front_proxy_client(
        &mut self,
        rotation: &Rotation,
        root: RootCa,
    ) -> Result<(), String> {
        let of = front_proxy(self.node, rotation).map_err(|e| e.to_string())?;
        let key = of.keys.of(root).map_err(|e| e.to_string())?;
        let is_to_be_issued =
            |stored: &Stored| of.certificates.issuer(&stored.certificate) != Some(root);
        let certificate = of.certificates.of(root);
        self.issue(of.authority, Issuer { certificate, key, behind: &[] }, is_to_be_issued)
    }

    /// Issues those certificates of a CA.
    fn issue(
        &mut self,
        authority: &Authority,
        issuer: Issuer<'_>,
        is_to_be_issued: impl Fn(&Stored) -> bool,
    ) -> Result<(), String> {
        let node = self.node;
        let now = self.orders.clock.now();
        let jobs = self.jobs(authority, issuer.certificate, is_to_be_issued);
        let renewal = Renewal { issuer: Some(issuer), ..renewal::renewal(node, self.orders, now) };
        let (outcomes, notes) =
            renew(&node.root, &mut self.store, &jobs, &[], renewal, self.orders.progress);
        self.note(notes);
        let results = renewal::verify(self.survey_again(), outcomes);
        let mut failures = Vec::new();
        let mut renewed = Vec::new();
        for (name, result) in results {
            let subject = crate::pass::subject(node, &name);
            match result {
                Ok(one) => {
                    let event =
                        crate::pass::Event::Renewed { subject, renewed: &one, reason: REASON };
                    self.emit(event);
                    renewed.push(one);
                }
                Err(error) => failures.push(format!("{name}: {error}")),
            }
        }
        self.remember_certificates(&renewed);
        self.note_renewed_now(&renewed);
        if failures.is_empty() { Ok(()) } else { Err(failures.join("; ")) }
    }

    fn jobs(
        &mut self,
        authority: &Authority,
        issuer: &Certificate,
        is_to_be_issued: impl Fn(&Stored) -> bool,
    ) -> Vec<Job> {
        let node = self.node;
        let policy = policy(node);
        let now = self.orders.clock.now();
        let terms = terms_by(issuer.not_before, issuer.not_after, &policy, now);
        let survey = self.survey_again();
        let is_meant = |credential: &&Credential| {
            load(&node.root, credential).stored().is_some_and(|stored| is_to_be_issued(&stored))
        };
        let job = |credential: &Credential| {
            let judged = Judged::find(&survey.credentials, &credential.name)?;
            let mut facts = judged.facts.clone();
            if !matches!(facts.material, Material::Whole(_)) {
                return None;
            }
            (facts.backup, facts.template) = (None, None);
            let trial = node.catalog.trials.get(&credential.name);
            Some(Job {
                facts,
                authority: authority.clone(),
                terms,
                names: SanChange::default(),
                urgency: Urgency::Comfortable,
                trial: trial.filter(|_| node.root.is_host()).cloned(),
            })
        };
        let all = issued_by_ca(&node.catalog, authority);
        all.filter(is_meant).filter_map(job).collect()
    }

    /// Has the cluster sign kubelet's client certificate, and keeps it where the wanted root did.
    fn issue_kubelet_client(&mut self, rotation: &Rotation, root: RootCa) -> Result<(), String> {
        let node = self.node;
        let policy = policy(node);
        if !node.root.is_host() {
            return Err("it is requested from the cluster where kubelet runs".to_owned());
        }
        let facts = self.kubelet_facts()?;
        let client = facts.kubelet.as_ref().ok_or(KUBELET_NOT_KNOWN)?;
        let name = client.node.clone()?;
        let failed = |e: &dyn std::fmt::Display| e.to_string();
        let template = kubelet_template(&name).map_err(|e| failed(&e))?;
        let old = load(&node.root, &facts.credential).stored();
        let like = old.as_ref().map_or(&template, |stored| &stored.certificate);
        let key = PrivateKey::generate(&algorithm(policy.key, like)).map_err(|e| failed(&e))?;
        let csr = request(&template, &key).map_err(|e| failed(&e))?;
        let asked = block_on(async {
            let api = kubelet_api(node).await.map_err(|e| failed(&e))?;
            request_kubelet_client(&api, &csr, &name).await.map_err(|e| failed(&e))
        });
        let found = asked.map_err(|e| failed(&e))??;
        let certificate = found.first().ok_or("the cluster returned no certificate")?;
        let wanted = rotation.intent.root(root);
        if !certificate.verifies_by(wanted) {
            return Err(format!(
                "the cluster had it signed by {}, not by {}: a kube-controller-manager that leads \
                 signs with that still; it is requested again",
                certificate.issuer, wanted.subject
            ));
        }
        self.put_kubelet_client(rotation, root, certificate, &key)
    }

    fn kubelet_facts(&mut self) -> Result<CredentialFacts, String> {
        let survey = self.survey_again();
        let found = survey.credentials.iter().find(|one| one.facts.kubelet.is_some());
        Ok(found.ok_or(KUBELET_NOT_KNOWN)?.facts.clone())
    }

    /// Puts a certificate that a root signed for kubelet in place, with the bridge behind it.
    pub(super) fn put_kubelet_client(
        &mut self,
        rotation: &Rotation,
        root: RootCa,
        certificate: &Certificate,
        key: &PrivateKey,
    ) -> Result<(), String> {
        let node = self.node;
        let failed = |e: &dyn std::fmt::Display| e.to_string();
        let facts = self.kubelet_facts()?;
        let client = facts.kubelet.clone().ok_or(KUBELET_NOT_KNOWN)?;
        let root_authority = root_authority(node).map_err(|e| failed(&e))?;
        let behind: Vec<_> = rotation.intent.bridge_behind(root).into_iter().cloned().collect();
        let backups = usize::from(node.settings.backups.keep.get());
        let now = self.orders.clock.now();
        let put = received(
            &node.root,
            &mut self.store,
            (&facts, &client, &load_authority(&node.root, root_authority)),
            &IssuedClient { certificate, behind: &behind, key },
            (now, backups),
        );
        let renewed = put.map_err(|e| failed(&e))?;
        let subject = crate::pass::subject(node, &renewed.credential);
        self.emit(crate::pass::Event::Renewed { subject, renewed: &renewed, reason: REASON });
        self.survey_again();
        self.note_renewed_now(std::slice::from_ref(&renewed));
        Ok(())
    }
}

/// The CA of the front proxy on this node, which the rotation replaces.
fn front_proxy<'r>(
    node: &'r Node,
    rotation: &'r Rotation,
) -> Result<CaFiles<'r>, RotationStepError> {
    let found = node.catalog.front_proxy_authority().zip(rotation.intent.front_proxy.as_ref());
    let (authority, certificates) = found.ok_or(RotationStepError::NoFrontProxy)?;
    Ok(CaFiles { authority, certificates, keys: &rotation.front_proxy_keys })
}

/// Why kubelet's client certificate is not issued.
const KUBELET_NOT_KNOWN: &str = "kubelet's client certificate is not known";

/// Why kubelet's serving certificate is not issued.
const NOT_BY_ROOT: &str = "kubelet's serving certificate is not issued by kubecertd";
