//! Lost credentials, made anew: a certificate by the template that was judged, in files of
//! kubeadm's form.

use super::job::{Job, RenewError};
use crate::credentials::{Composed, Form, Loaded, LoadedAuthority, Stored, load, located};
use crate::formats::kubeconfig;
use crate::formats::x509::{self, Certificate};
use crate::model::{Digest, Secret, Template, TemplateContent};
use crate::store::{Kind, NewFile};
use crate::sys::Root;

/// Returns what is to be issued, and the files that it goes to. Nothing where the credential is
/// not lost any more.
pub(super) fn original(root: &Root, job: &Job, template: &Template) -> Result<Stored, RenewError> {
    let credential = &job.facts.credential;
    if !matches!(
        load(root, credential),
        Loaded::Absent | Loaded::Damaged(_) | Loaded::CertificateMissing(_)
    ) {
        return Err(RenewError::Changed);
    }
    let certificate = match &template.content {
        TemplateContent::Remembered(der) => Certificate::from_der(der)?,
        TemplateContent::Described { subject, usages, names } => {
            x509::template(subject, usages, names)?
        }
    };
    let form = Form::read(root, &located(root, credential).location)?;
    Ok(Stored { form, certificate, further: Vec::new(), user: None, notes: Vec::new() })
}

/// Composes the new files. A kubeconfig that has places for a certificate and a key keeps the rest
/// of it; else it is written whole.
pub(super) fn compose(
    stored: &Stored,
    template: &Template,
    authority: &LoadedAuthority,
    certificate: &Certificate,
    key: &Secret,
) -> Result<Composed, RenewError> {
    let file = match (stored.compose(certificate, key), &stored.form) {
        (Err(_), Form::Kubeconfig(file)) => file,
        (composed, _) => return Ok(composed?),
    };
    let subject = certificate.subject.parts();
    let user = subject.iter().find(|(kind, _)| *kind == "CN").ok_or(RenewError::Fault)?;
    let server = template.server.as_ref().ok_or(RenewError::Fault)?;
    let LoadedAuthority::Present { anchors, .. } = authority else { return Err(RenewError::Fault) };
    let trusted: String = anchors.iter().map(Certificate::to_pem).collect();
    let content = kubeconfig::whole(&trusted, server, &user.1, &certificate.to_pem(), key);
    let old = file.content.as_ref().map(|content| Digest::of(content.expose()));
    let file = NewFile { path: file.path.clone(), content, old, kind: Kind::Private };
    Ok(Composed { files: vec![file], dropped: None })
}
