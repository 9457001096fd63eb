"""Stand-ins for SELinux's tools, which note how they are called.

No kernel that the tests meet has SELinux, and a policy cannot be loaded without: what is left to prove is
that the formula asks for the right context, once. They answer in the words that Salt looks for:
https://github.com/saltstack/salt/blob/master/salt/modules/selinux.py
"""

from __future__ import annotations

from support.hosts import Host

CALLS = "/selinux/calls"
_SEMANAGE = r"""#!/bin/sh
echo "semanage $*" >>/selinux/calls
case $2 in
    -l | --list) cat /selinux/contexts ;;
    --add) printf '%s  all files  system_u:object_r:%s:s0\n' "$5" "$4" >>/selinux/contexts ;;
    *) exit 1 ;;
esac
"""
_RESTORECON = r"""#!/bin/sh
echo "restorecon $*" >>/selinux/calls
for path; do :; done
kind=$(sed -n 's/.*:object_r:\(.*\):s0$/\1/p' /selinux/contexts)
[ "$kind" = "$(cat /selinux/label)" ] ||
    echo "Would relabel $path from system_u:object_r:var_lib_t:s0 to system_u:object_r:$kind:s0"
[ "$1" = -n ] || echo "$kind" >/selinux/label
"""
_TOOLS = {
    "semanage": _SEMANAGE,
    "restorecon": _RESTORECON,
    "setsebool": "#!/bin/sh\n",
    "semodule": "#!/bin/sh\n",
}


def give_selinux(host: Host) -> None:
    """Have a host look as if SELinux were enforcing."""
    host.write("/selinux/enforce", "1")
    for name in ("contexts", "label", "calls"):
        host.write(f"/selinux/{name}", "")
    for name, script in _TOOLS.items():
        host.write(f"/usr/sbin/{name}", script)
        host.path(f"/usr/sbin/{name}").chmod(0o755)


def changing_calls(host: Host, directory: str) -> list[str]:
    """Return the calls that changed something about a directory, in their order."""
    calls = host.read(CALLS).splitlines()
    return [call for call in calls if f" {directory}" in call and " -n " not in call]
