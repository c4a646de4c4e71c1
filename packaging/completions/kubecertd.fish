# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_kubecertd_global_optspecs
    string join \n root= config= h/help V/version
end

function __fish_kubecertd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_kubecertd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_kubecertd_using_subcommand
    set -l cmd (__fish_kubecertd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c kubecertd -n "__fish_kubecertd_needs_command" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_needs_command" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_needs_command" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -s V -l version -d 'Print version'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "check" -d 'Show every certificate, when it expires, and what should be done about it; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "renew" -d 'Renew what is due, rewrite the kubeconfigs, and have the services use the new certificates'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "restore" -d 'Restore replaced files from the backups'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "run" -d 'Run as a daemon: a pass every night, and whenever something changed'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "status" -d 'Show what the daemon did and will do, and what needs attention; also while it does not run'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "alarms" -d 'Show the alarms in force, with the reason and what to do about each'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "hold" -d 'Renew nothing for a while, unless it is urgent, and make no lost file'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "ca" -d 'Show or export a CA certificate, and verify who trusts it; check and install a root CA of your own'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "csr" -d 'Make a new key and a signing request for an external CA; the key stays on this node'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "install" -d 'Install the certificate that an external CA signed for such a request'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "sign" -d 'Sign such a request of another node\'s kubelet with the root CA of the cluster'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "config" -d 'Check or show the configuration'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "demo" -d 'Build a throw-away control-plane node with certificates in many states, and do the whole job on it'
complete -c kubecertd -n "__fish_kubecertd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand check" -s o -l output -d 'Output format; json is what kubeadm certs check-expiration -o json prints, with more fields' -r -f -a "table\t'A table'
wide\t'The table, and the services that use the certificates'
json\t'For programs'"
complete -c kubecertd -n "__fish_kubecertd_using_subcommand check" -l at -d 'Judge as of another time: 2027-03-01 or 2027-03-01T12:00:00Z' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand check" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand check" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l add-san -d 'Add this DNS name or IP address to the new certificate; may be given several times, with one NAME' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l remove-san -d 'Leave this one out' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l dry-run -d 'Show what would be done and why; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l force -d 'Renew also what is not due yet, and defer nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l allow-shorter -d 'With --force, --add-san or --remove-san: renew also where the new certificate would expire before the present one, because the CA does, or the configured validity is shorter'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l include-long-expired -d 'On a control-plane node of several, renew also what expired more than 30 days ago: the node may have been removed from its cluster since'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -l trust-clock -d 'Sign although the clock is not trusted'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand renew" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand restore" -l from -d 'Use this backup, by the name that --list shows, instead of the newest one that holds the complete credential' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand restore" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand restore" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand restore" -l list -d 'List the backups, the newest first, with their content; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand restore" -l force -d 'Restore also a certificate that is expired, or that the present CA did not sign'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand restore" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand run" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand run" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand run" -l once -d 'Make one pass and exit, for a timer'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand run" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand status" -l kubeconfig -d 'With --cluster: the kubeconfig of a user who may list Nodes, a file of this system; without it $KUBECONFIG, /etc/kubernetes/admin.conf or ~/.kube/config' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand status" -s o -l output -d 'With --cluster: output format' -r -f -a "table\t'The nodes that need attention, and how many do not'
wide\t'All nodes'
json\t'All nodes with their reports, for programs'"
complete -c kubecertd -n "__fish_kubecertd_using_subcommand status" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand status" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand status" -l watch -d 'Show it again every two seconds, until interrupted'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand status" -l cluster -d 'Show all nodes of the cluster, by what their own kubecertd reported'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand alarms" -s o -l output -d 'Output format' -r -f -a "list\t'A paragraph for each alarm'
json\t'For programs'"
complete -c kubecertd -n "__fish_kubecertd_using_subcommand alarms" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand alarms" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand alarms" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand hold" -l until -d 'When the hold is over: 2027-03-01 or 2027-03-01T12:00:00Z' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand hold" -l reason -d 'The reason, which is shown with the hold' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand hold" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand hold" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand hold" -l end -d 'End the hold now'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand hold" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "show" -d 'Show the certificate, its fingerprint, the hash that kubeadm join wants, and how long it is valid'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "export" -d 'Print the certificate as PEM, for other servers that have to trust it; never its key'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "verify" -d 'Check whether a file or a server trusts the CA and is signed by it'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "check" -d 'Check whether a certificate can be the root CA of a cluster; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "renew" -d 'Renew the CAs with their own keys on this node: every certificate that they issued stays valid'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "rotate" -d 'Replace the root CA of a cluster with one node, level by level, or renew that of any cluster'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "trust" -d 'Put the CAs that another node renewed in place on this one'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "install" -d 'Install a root CA of your own, before kubeadm init or kubeadm join; overwrites nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and not __fish_seen_subcommand_from show export verify check renew rotate trust install help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from show" -l ca -d 'Another CA than the cluster\'s root CA, by the name that check shows' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from show" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from show" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from export" -l ca -d 'Another CA than the cluster\'s root CA, by the name that check shows' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from export" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from export" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from verify" -l ca -d 'Another CA than the cluster\'s root CA, by the name that check shows' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from verify" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from verify" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from check" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from check" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from check" -l allow-trusted-root -d 'Accept a CA that the system\'s trust store holds: every client certificate of that CA is then valid in the cluster'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from renew" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from renew" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from renew" -l offline -d 'Work on this node alone, without the API server, which may be down'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from renew" -l trust-clock -d 'Sign although the clock is not trusted'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from renew" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "plan" -d 'Show every node and object that a replacement would touch; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "start" -d 'Begin: make a new root CA, take one of your own, or renew the present one'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "status" -d 'Show how far the nodes are, and what is waited for'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "pause" -d 'Change nothing any more, on any node'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "resume" -d 'Go on after a pause'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "step" -d 'Order the next level, after start --step'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "back" -d 'Go back: the old root CA signs again, and the new one is trusted no more'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "complete" -d 'Trust the old root CA no more, on any node: the last level'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from rotate" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from trust" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from trust" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from trust" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from install" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from install" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from install" -l allow-trusted-root -d 'Accept a CA that the system\'s trust store holds: every client certificate of that CA is then valid in the cluster'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from install" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show the certificate, its fingerprint, the hash that kubeadm join wants, and how long it is valid'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "export" -d 'Print the certificate as PEM, for other servers that have to trust it; never its key'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Check whether a file or a server trusts the CA and is signed by it'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check whether a certificate can be the root CA of a cluster; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "renew" -d 'Renew the CAs with their own keys on this node: every certificate that they issued stays valid'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Replace the root CA of a cluster with one node, level by level, or renew that of any cluster'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "trust" -d 'Put the CAs that another node renewed in place on this one'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "install" -d 'Install a root CA of your own, before kubeadm init or kubeadm join; overwrites nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand ca; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand csr" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand csr" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand csr" -l all -d 'Every credential of an external CA'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand csr" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand install" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand install" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand install" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand sign" -l node -d 'The Node whose kubelet made the request, by the name that kubectl get nodes shows; the cluster has to have it' -r
complete -c kubecertd -n "__fish_kubecertd_using_subcommand sign" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand sign" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand sign" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -f -a "check" -d 'Say whether the configuration is valid, and if not, where it is wrong'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -f -a "show" -d 'Show every setting in force and where it comes from, and the managed files'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and not __fish_seen_subcommand_from check show help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from check" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from show" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say whether the configuration is valid, and if not, where it is wrong'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show every setting in force and where it comes from, and the managed files'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand demo" -l keep -d 'Build it in this empty directory and leave it there, to be looked at with --root' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand demo" -l root -d 'Work on another root directory, such as the mounted disk of a node that is off: every path of the node, absolute symlinks included, resolves inside it; the FILE of --config, the CERT and KEY of install, ca check and ca install, the FILE of ca trust and the REQUEST of sign are files of this system' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand demo" -l config -d 'Read this configuration, and the drop-ins beside it, instead of /etc/kubecertd/kubecertd.toml below the root directory' -r -F
complete -c kubecertd -n "__fish_kubecertd_using_subcommand demo" -s h -l help -d 'Print help'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "check" -d 'Show every certificate, when it expires, and what should be done about it; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "renew" -d 'Renew what is due, rewrite the kubeconfigs, and have the services use the new certificates'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "restore" -d 'Restore replaced files from the backups'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "run" -d 'Run as a daemon: a pass every night, and whenever something changed'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "status" -d 'Show what the daemon did and will do, and what needs attention; also while it does not run'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "alarms" -d 'Show the alarms in force, with the reason and what to do about each'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "hold" -d 'Renew nothing for a while, unless it is urgent, and make no lost file'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "ca" -d 'Show or export a CA certificate, and verify who trusts it; check and install a root CA of your own'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "csr" -d 'Make a new key and a signing request for an external CA; the key stays on this node'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "install" -d 'Install the certificate that an external CA signed for such a request'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "sign" -d 'Sign such a request of another node\'s kubelet with the root CA of the cluster'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "config" -d 'Check or show the configuration'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "demo" -d 'Build a throw-away control-plane node with certificates in many states, and do the whole job on it'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and not __fish_seen_subcommand_from check renew restore run status alarms hold ca csr install sign config demo help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "show" -d 'Show the certificate, its fingerprint, the hash that kubeadm join wants, and how long it is valid'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "export" -d 'Print the certificate as PEM, for other servers that have to trust it; never its key'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "verify" -d 'Check whether a file or a server trusts the CA and is signed by it'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "check" -d 'Check whether a certificate can be the root CA of a cluster; changes nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "renew" -d 'Renew the CAs with their own keys on this node: every certificate that they issued stays valid'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "rotate" -d 'Replace the root CA of a cluster with one node, level by level, or renew that of any cluster'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "trust" -d 'Put the CAs that another node renewed in place on this one'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from ca" -f -a "install" -d 'Install a root CA of your own, before kubeadm init or kubeadm join; overwrites nothing'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Say whether the configuration is valid, and if not, where it is wrong'
complete -c kubecertd -n "__fish_kubecertd_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "show" -d 'Show every setting in force and where it comes from, and the managed files'
