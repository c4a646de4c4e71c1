//! The operator's own entries: the configurations, commands and outputs of docs/own-entries.md.

use super::harness::{Node, schedule_in};

const PAGE: &str = include_str!("../../docs/own-entries.md");

/// An example on the page.
struct Example {
    /// The file of its configuration, and the text.
    configuration: (String, String),
    /// Its commands, each with the expected output.
    commands: Vec<(String, Vec<String>)>,
}

impl Example {
    fn parse(heading: &str) -> Self {
        let section = PAGE.split("\n## ").find(|section| section.lines().next() == Some(heading));
        let section = section.unwrap_or_else(|| panic!("docs/own-entries.md has no {heading:?}"));
        let blocks = |kind: &str| {
            let begins = format!("```{kind}\n");
            section
                .split(&begins)
                .skip(1)
                .map(|rest| rest.split("\n```").next().unwrap().to_owned() + "\n")
                .collect::<Vec<_>>()
        };
        let [configuration] = <[String; 1]>::try_from(blocks("toml")).unwrap();
        let file =
            configuration.lines().next().unwrap().strip_prefix("# /").expect("its file").to_owned();
        let mut commands: Vec<(String, Vec<String>)> = Vec::new();
        for block in blocks("console") {
            for line in block.lines() {
                match line.strip_prefix("# ") {
                    Some(command) => commands.push((command.to_owned(), Vec::new())),
                    None => commands.last_mut().expect("a command").1.push(line.to_owned()),
                }
            }
        }
        Self { configuration: (file, configuration), commands }
    }

    fn configure(&self, node: &Node) {
        node.write(&self.configuration.0, &self.configuration.1);
    }

    /// Runs the command that starts with this text, compares its output with the page, and returns
    /// the output.
    fn run(&self, node: &Node, begins: &str) -> String {
        let (command, expected) =
            self.commands.iter().find(|(command, _)| command.starts_with(begins)).unwrap();
        let shown = node.exec(&format!("{command} || [ $? = 3 ]"));
        let mut lines = shown.lines().map(normalize);
        for line in expected.iter().filter(|line| *line != "..." && !line.is_empty()) {
            let found = lines.any(|shown| shown == normalize(line));
            assert!(
                found,
                "{command} does not print {line:?} in this order ({:?}):\n{shown}",
                normalize(line)
            );
        }
        shown
    }
}

/// Replaces everything that varies: numbers, serial numbers, and the width of columns.
fn normalize(line: &str) -> String {
    let word = |word: &str| match word.trim_end_matches([':', ',']) {
        serial if serial.len() >= 16 && serial.chars().all(|c| c.is_ascii_hexdigit()) => {
            word.replace(serial, "SERIAL")
        }
        _ => word.to_owned(),
    };
    let mut text = String::new();
    for c in line.split_whitespace().map(word).collect::<Vec<_>>().join(" ").chars() {
        match (c.is_ascii_digit(), text.ends_with('0')) {
            (true, true) => {}
            (true, false) => text.push('0'),
            (false, _) => text.push(c),
        }
    }
    text
}

/// Removes the files and units of these cases, also those of an earlier failed run.
fn clean_up(node: &Node) {
    node.exec(
        "for unit in webhook monitoring haproxy by-reload by-signal; do
           systemctl stop $unit 2>/dev/null || true
           rm -rf /etc/systemd/system/$unit.service /etc/$unit /run/$unit.*
         done
         rm -f /usr/local/by-command.told
         systemctl daemon-reload
         systemctl reset-failed",
    );
}

/// Creates a TLS server as a unit that reads its pair at the start. The pair has its own CA and
/// belongs to a separate user.
fn make_webhook(node: &Node) {
    node.exec(
        "mkdir /etc/webhook && cd /etc/webhook
         openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /O=Example/CN=webhook-ca \
         -keyout ca.key -out ca.crt 2>/dev/null
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=webhook -keyout \
         tls.key -out tls.csr 2>/dev/null
         printf \
         'subjectAltName=DNS:webhook.example.svc,IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n' \
         >tls.ext
         openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -set_serial 0x1234 -days 300 \
         -extfile tls.ext -out tls.crt 2>/dev/null
         rm tls.csr tls.ext
         chown 1234:4321 tls.crt tls.key && chmod 0640 tls.key",
    );
    node.write(
        "etc/systemd/system/webhook.service",
        "[Service]\n\
         ExecStartPre=/bin/sh -c 'echo started >>/run/webhook.starts'\n\
         ExecStart=/usr/bin/openssl s_server -accept 127.0.0.1:8443 -www -quiet -cert \
         /etc/webhook/tls.crt -key /etc/webhook/tls.key\n",
    );
    node.exec("systemctl daemon-reload && systemctl start webhook");
}

/// Creates a client of the API server with its own user: a process with a pid file that handles
/// SIGHUP.
fn make_monitoring(node: &Node) {
    node.exec(
        "mkdir /etc/monitoring && cd /etc/monitoring
         openssl req -newkey rsa:2048 -nodes -subj /O=monitoring/CN=monitoring -keyout m.key -out \
         m.csr 2>/dev/null
         printf 'extendedKeyUsage=clientAuth\\n' >m.ext
         pki=/etc/kubernetes/pki
         openssl x509 -req -in m.csr -CA $pki/ca.crt -CAkey $pki/ca.key -set_serial 0x1234 -days \
         300 -extfile m.ext -out m.crt 2>/dev/null
         server=https://$(hostname --ip-address):6443
         set_to='kubectl --kubeconfig kubeconfig config'
         $set_to set-cluster kubernetes --server $server --certificate-authority $pki/ca.crt \
         --embed-certs
         $set_to set-credentials monitoring --client-certificate m.crt --client-key m.key \
         --embed-certs
         $set_to set-context monitoring --cluster kubernetes --user monitoring
         $set_to use-context monitoring
         rm m.*",
    );
    let script = "echo $$ >/run/monitoring.pid; trap 'echo told >>/run/monitoring.told' HUP; while \
        :; do sleep 1 & wait; done";
    node.write(
        "etc/systemd/system/monitoring.service",
        format!("[Service]\nExecStart=/bin/sh -c \"{}\"\n", script.replace('$', "$$")),
    );
    node.exec("systemctl daemon-reload && systemctl start monitoring");
    node.wait_for("the pid file exists", |node| {
        node.path("run/monitoring.pid").exists().then_some(())
    });
}

/// Services with other refresh methods: a reload of a unit, a signal to its main process, and a
/// command, which may write where the daemon may not.
const OTHER_SERVICES: &str = r#"
[[service]]
name = "by-reload"
unit = "by-reload.service"
refresh = "reload"
uses = [
  { credential = "webhook", takes = "restart" },
  { credential = "admin.conf", takes = "restart" },
]
[[service]]
name = "by-signal"
unit = "by-signal.service"
signal = "USR1"
uses = [{ credential = "webhook", takes = "restart" }]
[[service]]
name = "by-command"
command = ["/bin/sh", "-c", "echo \"$0\" >>/usr/local/by-command.told", "a $word"]
uses = [{ credential = "webhook", takes = "restart" }]
"#;

fn make_other_services(node: &Node) {
    node.write("etc/kubecertd/kubecertd.d/others.toml", OTHER_SERVICES);
    let reload = "ExecReload=/bin/sh -c 'echo told >>/run/by-reload.told'";
    node.write(
        "etc/systemd/system/by-reload.service",
        format!("[Service]\nExecStart=/bin/sleep infinity\n{reload}\n"),
    );
    let script = "trap 'echo told >>/run/by-signal.told' USR1; while :; do sleep 1 & wait; done";
    node.write(
        "etc/systemd/system/by-signal.service",
        format!("[Service]\nExecStart=/bin/sh -c \"{script}\"\n"),
    );
    node.exec("systemctl daemon-reload && systemctl start by-reload by-signal");
}

/// The number of refreshes of each of the other services.
fn other_refreshes(node: &Node) -> [usize; 3] {
    ["run/by-reload.told", "run/by-signal.told", "usr/local/by-command.told"]
        .map(|file| lines_of(node, file))
}

/// The serial number of the certificate that is served at a port.
fn served_at(node: &Node, port: u16) -> Option<String> {
    let asked = node.try_exec(&format!(
        "openssl s_client -connect 127.0.0.1:{port} </dev/null \
        2>/dev/null | openssl x509 -noout -serial"
    ));
    let serial = String::from_utf8(asked.stdout).unwrap();
    serial.trim().strip_prefix("serial=").map(str::to_ascii_lowercase)
}

fn lines_of(node: &Node, file: &str) -> usize {
    std::fs::read_to_string(node.path(file)).map_or(0, |text| text.lines().count())
}

/// Installs the drop-in from the output of the program, at the path that it names.
fn install_drop_in(node: &Node, shown: &str) {
    let drop_in = &shown[shown.find("[Service]").unwrap()..];
    let place = shown.split("put this into /").nth(1).unwrap().split(',').next().unwrap();
    std::fs::create_dir_all(node.path(place).parent().unwrap()).unwrap();
    node.write(place, drop_in);
}

/// A webhook's pair and a monitoring client: configured as on the page, found due, renewed by the
/// schedule under the shipped unit, and in use, once.
pub fn webhook_and_monitoring_client(node: &mut Node) {
    clean_up(node);
    let (webhook, monitoring) =
        (Example::parse("A webhook's pair"), Example::parse("A monitoring client"));
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    make_webhook(node);
    make_monitoring(node);
    webhook.configure(node);
    monitoring.configure(node);
    node.age("webhook", 10);
    node.age("monitoring", 10);
    // It is ambiguous which file a process read that started within a second of the write.
    node.exec("sleep 2; systemctl restart webhook monitoring");
    let output = webhook.run(node, "kubecertd config check");
    assert!(output.contains("ReadWritePaths=-/etc/monitoring\n"), "{output}");
    install_drop_in(node, &output);
    let old = (node.serial("webhook"), node.serial("monitoring"));
    node.wait_for("the webhook serves", |node| (served_at(node, 8443)? == old.0).then_some(()));
    webhook.run(node, "kubecertd check -o wide");
    monitoring.run(node, "kubecertd check -o wide");
    assert!(
        node.exec("kubecertd config show").contains("process of /run/monitoring.pid, sent SIGHUP")
    );

    make_other_services(node);
    let mut starts = lines_of(node, "run/webhook.starts");
    assert_eq!(lines_of(node, "run/monitoring.told"), 0);
    node.write("etc/kubecertd/kubecertd.toml", schedule_in(10));
    node.exec("systemctl daemon-reload && systemctl start kubecertd");
    let pass = node.wait_for("the credentials are renewed", |node| {
        node.status()?.last_pass.filter(|pass| !pass.renewed.is_empty())
    });
    assert!(pass.why.contains("by schedule"), "{pass:?}");
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    let renewed: Vec<&str> = pass.renewed.iter().map(|name| name.as_str()).collect();
    assert_eq!(renewed, ["monitoring", "webhook"], "{pass:?}");
    assert!(node.serial("webhook") != old.0 && node.serial("monitoring") != old.1);
    assert_eq!(served_at(node, 8443), Some(node.serial("webhook")));
    starts += 1;
    assert_eq!(
        (lines_of(node, "run/webhook.starts"), lines_of(node, "run/monitoring.told")),
        (starts, 1)
    );
    assert_eq!(
        node.exec("stat -c %u:%g:%a /etc/webhook/tls.key /etc/webhook/tls.crt"),
        "1234:4321:640\n1234:4321:644\n"
    );
    node.exec(
        "openssl verify -CAfile /etc/webhook/ca.crt -verify_hostname webhook.example.svc \
        /etc/webhook/tls.crt",
    );
    assert_eq!(
        node.kubectl("--kubeconfig /etc/monitoring/kubeconfig get --raw /api | head -c 1"),
        "{"
    );
    webhook.run(node, "journalctl");
    monitoring.run(node, "journalctl");
    assert_eq!(other_refreshes(node), [1, 1, 1]);
    assert_eq!(node.exec("cat /usr/local/by-command.told"), "a $word\n");

    // A second pass does nothing, and everything is fresh.
    node.request_pass();
    assert_eq!(
        (lines_of(node, "run/webhook.starts"), lines_of(node, "run/monitoring.told")),
        (starts, 1)
    );
    assert_eq!(other_refreshes(node), [1, 1, 1]);
    let shown = node.exec("kubecertd check -o wide");
    let state = |service: &str| {
        let line = shown
            .lines()
            .find(|line| line.starts_with(&format!("{service} ")))
            .unwrap_or_else(|| panic!("{shown}"));
        line.split("  ").last().unwrap().trim().to_owned()
    };
    assert_eq!(
        (state("webhook"), state("monitoring")),
        ("fresh (served certificate)".to_owned(), "reload sent, unverified".to_owned())
    );

    let status = node.exec("kubecertd status || true");
    assert!(
        ["webhook ", "monitoring "].iter().all(|name| status.matches(name).count() >= 2),
        "{status}"
    );

    // A restore refreshes the services too.
    let restored = webhook.run(node, "kubecertd restore webhook");
    assert_eq!(node.serial("webhook"), old.0, "{restored}");
    assert_eq!(node.exec("stat -c %u:%g:%a /etc/webhook/tls.key").trim(), "1234:4321:640");

    // A configured service without a unit is reported.
    node.exec(
        "systemctl stop webhook && rm /etc/systemd/system/webhook.service && systemctl \
        daemon-reload",
    );
    let shown = node.exec("kubecertd check -o wide || [ $? = 3 ]");
    assert!(
        shown.contains(
            "webhook does not run: the configuration lists it, and systemd has no \
        unit webhook.service"
        ),
        "{shown}"
    );
    clean_up(node);
}

/// Creates a unit that behaves like haproxy: it reads its bundle at the start and on reload.
fn make_haproxy(node: &Node) {
    node.exec(
        "mkdir /etc/haproxy && cd /etc/haproxy
         view='kubectl --kubeconfig /etc/kubernetes/admin.conf config view --raw -o \
         jsonpath={.users[0].user'
         for part in client-key-data client-certificate-data; do $view.$part} | base64 --decode; \
         done >admin.pem
         chown 1234:4321 admin.pem && chmod 0640 admin.pem",
    );
    node.write(
        "etc/systemd/system/haproxy.service",
        "[Service]\n\
         ExecStart=/bin/sleep infinity\n\
         ExecReload=/bin/sh -c 'echo told >>/run/haproxy.told'\n",
    );
    node.exec("systemctl daemon-reload && sleep 2 && systemctl start haproxy");
}

/// A bundle of the key and the certificate in admin.conf is updated with it, and its service is
/// reloaded.
pub fn bundle_for_haproxy(node: &mut Node) {
    clean_up(node);
    let example = Example::parse("A bundle for haproxy");
    node.install_past_first_pass();
    node.exec("systemctl stop kubecertd");
    node.age("admin.conf", 10);
    make_haproxy(node);
    example.configure(node);
    let output = node.exec("kubecertd config check");
    assert!(output.contains("ReadWritePaths=-/etc/haproxy\n"), "{output}");
    install_drop_in(node, &output);
    example.run(node, "kubecertd check -o wide");
    node.write("etc/kubecertd/kubecertd.toml", schedule_in(10));
    node.exec("systemctl daemon-reload && systemctl start kubecertd");
    let pass = node.wait_for("it is renewed", |node| {
        node.status()?.last_pass.filter(|pass| !pass.renewed.is_empty())
    });
    assert!(pass.failed.is_empty() && pass.not_refreshed.is_empty(), "{pass:?}");
    let bundle = node.exec("openssl x509 -in /etc/haproxy/admin.pem -noout -serial");
    assert_eq!(bundle.trim().to_ascii_lowercase(), format!("serial={}", node.serial("admin.conf")));
    assert_eq!(node.exec("stat -c %u:%g:%a /etc/haproxy/admin.pem").trim(), "1234:4321:640");
    assert!(
        node.exec("head -n 1 /etc/haproxy/admin.pem").contains("PRIVATE KEY"),
        "the key is still first"
    );
    assert_eq!(lines_of(node, "run/haproxy.told"), 1);
    example.run(node, "journalctl");
    node.request_pass();
    assert_eq!(lines_of(node, "run/haproxy.told"), 1);
    clean_up(node);
}
