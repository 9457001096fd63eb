"""The registry's port in a firewall of nftables, now and at the next boot.

Salt's own module has no way to delete a rule by what it says (it passes a mapping for the handle), saves all
active rules, those of docker and others included, and takes rules that it cannot read for none:
https://github.com/saltstack/salt/blob/3007.x/salt/modules/nftables.py
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import salt.utils.path
from salt.exceptions import CommandExecutionError

from _registry_host_nftables import Place, Ruleset, deletions, insertions, replace_saved, saved

# What nftables.service loads, by Salt's family of systems.
_FILES = {"RedHat": "/etc/sysconfig/nftables.conf", "Debian": "/etc/nftables.conf"}


class Nftables:
    """The rules as they are now: ask another one after a change.

    Args:
        functions: ``__salt__``.
        system: ``os_family`` of the grains.
        ports: the registry's, and that of its signatures where they are served.
        others: tables, each as its family and name, that firewalld or iptables make.
    """

    def __init__(
        self,
        functions: Mapping[str, Callable[..., Any]],
        system: str,
        ports: Sequence[int],
        others: Collection[tuple[str, str]] = (),
    ) -> None:
        self._functions = functions
        self._ports = tuple(ports)
        self._others = others
        path = _FILES.get(system, "")
        self._file = path if path and functions["file.file_exists"](path) else ""
        self._text: str = functions["file.read"](path) if self._file else ""

    def refusing(self) -> list[Place]:
        """The chains that would refuse one of the ports, were it not for our rules.

        Raises:
            CommandExecutionError: the rules cannot be read.
        """
        return list(dict.fromkeys(place for place, _ in self._wanted()))

    def has_rule(self) -> bool:
        """Whether there is any rule of ours, also for another port or in the file alone.

        Raises:
            CommandExecutionError: the rules cannot be read.
        """
        return bool(self._rules.ours() or saved(self._text))

    def is_open(self) -> bool:
        """Whether our rules are active and in the file that is loaded at boot, as far as they are needed.

        Raises:
            CommandExecutionError: they are not and could not be made to last, with the rule to add.
        """
        active = {(rule.place, rule.port) for rule in self._rules.ours()}
        after_boot = set(saved(self._text))
        wanted = set(self._wanted())
        if wanted <= active & after_boot and {port for _, port in active | after_boot} <= set(self._ports):
            return True
        self._assert_that_rules_last()
        return False

    def open(self) -> None:
        """Put our rules before all others of each chain that refuses a port; those for other ports go.

        Raises:
            CommandExecutionError: the rules cannot be read, or nft refuses.
        """
        wanted = self._wanted()
        self._run_all([*deletions(self._rules.ours()), *insertions(wanted)])
        # Where no rules are active, those in the file wait for a boot.
        waiting = dict.fromkeys(place for place, _ in saved(self._text))
        self._save(wanted or [(place, port) for place in waiting for port in self._ports])

    def close(self) -> None:
        """Remove our rules.

        Raises:
            CommandExecutionError: the rules cannot be read, or nft refuses.
        """
        self._run_all(deletions(self._rules.ours()))
        self._save([])

    @cached_property
    def _rules(self) -> Ruleset:
        if not salt.utils.path.which("nft"):
            return Ruleset([])
        listed = self._nft("--json", "list", "ruleset")
        if listed["retcode"] == 0:
            return Ruleset(json.loads(listed["stdout"] or "{}").get("nftables", []))
        if " hook input " not in self._nft("list", "ruleset")["stdout"]:
            # Also where nobody is let ask, as in a container.
            return Ruleset([])
        raise CommandExecutionError(
            f"nftables filters here, but its rules cannot be read ({_reason(listed)}). {self._remedy()}"
        )

    def _wanted(self) -> list[tuple[Place, int]]:
        """The chains that refuse a port, each with that port."""
        return [(place, port) for port in self._ports for place in self._rules.refusing(port, self._others)]

    def _assert_that_rules_last(self) -> None:
        wanted = self._wanted()
        why = self._why_lost(wanted) if wanted else ""
        if why:
            chains = ", ".join(map(str, self.refusing()))
            port = next(port for _, port in wanted)
            raise CommandExecutionError(
                f"nftables refuses connections to port {port} ({chains}), and a rule of this formula "
                f"would be lost at the next boot: {why}. {self._remedy()}"
            )

    def _why_lost(self, placed: Collection[tuple[Place, int]]) -> str:
        if not self._file:
            return "there is no file of rules that nftables.service would load"
        # As at boot, but nothing is done.
        commands = ["flush ruleset", f'include "{self._file}"', *insertions(placed)]
        done = self._nft("--check", "--file", "-", stdin=_lines(commands))
        return f"once {self._file} is loaded, nft says: {_reason(done)}" if done["retcode"] else ""

    def _remedy(self) -> str:
        ports = ", ".join(map(str, self._ports))
        said = f"{{ {ports} }}" if len(self._ports) > 1 else ports
        return (
            f"Where these rules come from, add 'tcp dport {said} accept' to the chain, before what "
            "refuses; or set docker_registry:firewall to none"
        )

    def _run_all(self, commands: Collection[str]) -> None:
        """All of them, or none where one is refused."""
        if commands:
            done = self._nft("--file", "-", stdin=_lines(commands))
            if done["retcode"]:
                raise CommandExecutionError(f"nft: {_reason(done)}")

    def _nft(self, *arguments: str, **keywords: Any) -> Mapping[str, Any]:
        command = ["nft", *arguments]
        result: Mapping[str, Any] = self._functions["cmd.run_all"](
            command, python_shell=False, ignore_retcode=True, **keywords
        )
        return result

    def _save(self, placed: Collection[tuple[Place, int]]) -> None:
        text = replace_saved(self._text, placed)
        if text != self._text:
            # It ends each argument with a line's end of its own.
            self._functions["file.write"](self._file, text.removesuffix("\n"))


def _lines(commands: Collection[str]) -> str:
    return "".join(f"{command}\n" for command in commands)


def _reason(done: Mapping[str, Any]) -> str:
    """The first line of what nft complains of, without the place in what it read."""
    line: str = done["stderr"].partition("\n")[0]
    return line.partition("Error: ")[2] or line
