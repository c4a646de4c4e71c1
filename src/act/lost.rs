//! Lost credentials, made anew: a certificate by the template that was judged, in files of
//! kubeadm's form.

use super::job::{Job, RenewError};
use crate::credentials::{
    Composed, Files, Form, Loaded, LoadedAuthority, SourceFile, Stored, load, located,
};
use crate::formats::kubeconfig;
use crate::formats::x509::{self, Certificate};
use crate::model::{AbsolutePath, Digest, Location, Secret, Template, TemplateContent};
use crate::store::{Kind, NewFile};
use crate::sys::{FileError, Root};

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
    let form = form(root, &located(root, credential).location)?;
    Ok(Stored { form, certificate, further: Vec::new(), user: None, notes: Vec::new() })
}

fn form(root: &Root, location: &Location) -> Result<Form, FileError> {
    let source = |path: &AbsolutePath| {
        Ok::<_, FileError>(SourceFile { path: path.clone(), content: Files::read(root, path)? })
    };
    Ok(match location {
        Location::Pair { certificate, key } => {
            Form::Pair { certificate: source(certificate)?, key: source(key)? }
        }
        Location::Bundle(file) => Form::Bundle(source(file)?),
        Location::Kubeconfig(file) => Form::Kubeconfig(source(file)?),
        Location::KubeconfigUser { file, user } => Form::User(source(file)?, user.clone()),
    })
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
