"""Every module of the package has a test of its name, or is named here with the test that goes through it.

A test of its name is a file `test_<name>.py` or one whose name has it as a word
(`test_proxy_tape.py`). A room whose modules are alike, one for each driver or finding, has one test
over all of them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = sorted(
    path.relative_to(ROOT / "pgtrace").with_suffix("").as_posix()
    for path in (ROOT / "pgtrace").rglob("*.py")
    if not path.name.startswith("__") and "program" not in path.parts
)
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

THROUGH: dict[str, str] = {
    # one module of many that are alike
    "identify/drivers/*": "identify/drivers/test_identify.py",
    "identify/layers/*": "identify/layers/test_layers.py",
    "judge/findings/*": "judge/test_findings.py",
    "demo/workloads/*": "demo/test_workloads.py",
    "protocol/values/*": "protocol/test_values_server.py",
    "protocol/pqtrace/*": "protocol/test_pqtrace.py",
    "protocol/replication/*": "protocol/test_replication_messages.py",
    "capture/jsonl/*": "capture/test_capture_jsonl.py",
    "capture/tls/*": "capture/test_capture_tls.py",
    "tui/web/*": "tui/web/test_web_server.py",
    "tui/actions/*": "tui/test_tui_acting.py",
    "tui/widgets/*": "tui/test_tui_app.py",
    "tui/panes/*": "tui/test_tui_panes.py",
    "tui/model/*": "tui/test_tui_view.py",
    "tui/*": "tui/test_tui_app.py",
    "report/comparison/*": "report/test_comparison.py",
    "report/page/*": "report/test_comparison.py",
    "cli/children": "live/test_run.py",
    "marking": "cli/test_mark_command.py",
    "proxy/mark_socket": "cli/test_mark_command.py",
    "trace/noted_marks": "callsites/test_program_marks.py",
    "cli/turns": "cli/test_compare_command.py",
    # the package's own modules
    "errors": "cli/test_wrong_uses.py",
    "parameters": "live/test_conninfo_libpq.py",
    "services": "live/test_conninfo_libpq.py",
    "control": "test_recorder.py",
    "keeper": "test_kept.py",
    "certificates": "proxy/test_proxy_driver_tls.py",
    # protocol: declarations, over which one test goes
    "protocol/frontend": "protocol/test_registry.py",
    "protocol/backend": "protocol/test_registry.py",
    "protocol/bodies": "protocol/test_messages.py",
    "protocol/primitives": "protocol/test_messages.py",
    "protocol/fields": "protocol/test_registry.py",
    "protocol/authentication": "protocol/test_messages.py",
    "protocol/codes": "test_framing.py",
    "protocol/answers": "proxy/test_proxy_replies.py",
    "protocol/copy_binary": "protocol/test_copy_rows.py",
    # capture
    "capture/checksums": "capture/test_capture_reader.py",
    "capture/followed": "capture/test_capture_segments.py",
    "capture/inputs": "capture/test_capture_importing.py",
    "capture/links": "capture/test_capture_packets.py",
    "capture/contents": "capture/test_capture_hiding.py",
    "capture/fragments": "capture/test_capture_ip.py",
    "capture/peer": "proxy/test_proxy_driver_processes.py",
    "capture/streamed": "capture/test_capture_importing.py",
    "capture/pieces": "capture/test_capture_order.py",
    # session: one machine, asked from outside
    "session/bodies": "session/test_session_values.py",
    "session/effects": "trace/test_rowsums.py",
    "session/events": "session/test_sequences.py",
    "session/failures": "trace/test_row.py",
    "session/machine": "session/test_exchanges.py",
    "session/roundtrips": "session/test_sequences.py",
    "session/cache": "session/test_exchanges.py",
    "session/departure": "session/test_session_ends.py",
    "session/watched": "inspect/test_details.py",
    # trace
    "trace/gathered": "trace/test_statements.py",
    "trace/full_buffers": "trace/test_waits.py",
    "trace/intake": "trace/test_trace.py",
    "trace/introspections": "inspect/test_types.py",
    "trace/labels": "trace/test_trace.py",
    "trace/ledger": "trace/test_trace.py",
    "trace/marks": "capture/test_capture_segments.py",
    "trace/observer": "trace/test_trace.py",
    "trace/security": "report/test_report_about.py",
    "trace/timeline": "trace/test_trace.py",
    "trace/counters": "trace/test_rowsums.py",
    "trace/refused_tls": "live/test_tls_wanted.py",
    "trace/reconnects": "live/test_tls_wanted.py",
    # identify, describe, inspect
    "identify/collector": "identify/drivers/test_identify.py",
    "describe/copy_contents": "trace/test_copy_log.py",
    "describe/copy_messages": "live/test_replication.py",
    "inspect/copy_reading": "live/test_copy_formats.py",
    "inspect/executed": "inspect/test_literals.py",
    "inspect/walk": "inspect/test_details.py",
    # ask, judge, compare
    "ask/filter/words": "ask/filter/test_filter_docs.py",
    "ask/filter/tree": "ask/filter/test_filter_parser.py",
    "ask/filter/facts": "ask/filter/test_filter_selection.py",
    "judge/baseline": "cli/test_advise_in_ci.py",
    "judge/signs": "judge/test_findings.py",
    "judge/advice": "judge/test_findings.py",
    "judge/track": "judge/test_findings.py",
    "compare/behaviour": "compare/test_diff.py",
    "compare/changes": "compare/test_diff.py",
    # report, export, sqltext, regex
    "report/advice_formats": "cli/test_advise_in_ci.py",
    "report/answer": "cli/test_output.py",
    "report/stats": "test_docs.py",
    "report/advice": "judge/test_findings.py",
    "report/encoding": "report/test_report_messages.py",
    "export/rules": "export/test_golden.py",
    "sqltext/blanking": "capture/test_capture_hiding.py",
    "sqltext/lists": "sqltext/test_sqltext_groups.py",
    "regex/*": "regex/test_regex.py",
    # serve: one session, asked from outside
    "serve/requests": "serve/test_serve_session.py",
    "serve/script": "serve/test_serve_store.py",
    "serve/choice": "serve/test_serve_session.py",
    "serve/inorder": "serve/test_serve_session.py",
    "serve/mismatch": "serve/test_serve_session.py",
    "serve/recording": "serve/test_serve_corpus.py",
    "serve/replies": "serve/test_serve_session.py",
    "replay/plan": "replay/test_replay_player.py",
    "replay/running": "live/test_replay.py",
    "replay/connection": "live/test_replay.py",
    "replay/loop": "live/test_replay.py",
    "replay/outcome": "live/test_replay.py",
    # cli, testing, demo
    "cli/demo": "demo/test_scene.py",
    "cli/listen": "cli/test_stopping.py",
    "cli/open": "tui/test_tui_stream.py",
    "cli/progress": "cli/test_show_waiting.py",
    "cli/stats": "cli/test_filter_option.py",
    "cli/recording": "live/test_writer_goes_on.py",
    "cli/streamed": "tui/test_tui_stream.py",
    "cli/imports": "cli/test_import.py",
    "cli/follow": "cli/test_growing_files.py",
    "demo/ways": "demo/test_embedded.py",
    "testing/counted": "testing/test_python_api.py",
    "testing/handle": "testing/test_pytest_plugin.py",
    "testing/rendering": "testing/test_pytest_plugin.py",
    "testing/selected": "testing/test_python_api.py",
    "testing/summary": "testing/test_pytest_plugin.py",
    # proxy: a process, asked from outside
    "proxy/callsites": "callsites/test_call_sites.py",
    "proxy/writer_thread": "proxy/test_proxy_tape.py",
    "proxy/keylog": "proxy/test_proxy_driver_tls.py",
    "proxy/sock_diag": "proxy/test_proxy_admission.py",
    "proxy/direction": "proxy/test_proxy_relay.py",
    "proxy/fault_rules": "proxy/test_proxy_faults.py",
    "proxy/upstream_leg": "proxy/test_proxy_tls.py",
    "proxy/channel_binding": "proxy/test_proxy_sasl.py",
    "proxy/cancel_keys": "proxy/test_proxy_startup.py",
    "proxy/pauses": "live/test_when_behind.py",
    "proxy/upstream": "proxy/test_proxy_hosts.py",
    "proxy/listening": "proxy/test_proxy_server.py",
    "proxy/refusals": "proxy/test_proxy_admission.py",
    "proxy/small_reads": "proxy/test_proxy_before_login.py",
    "proxy/control": "test_recorder.py",
    "proxy/kernel": "live/test_ends_directly.py",
}  # fmt: skip
"""Module, or `room/*` for what is in a room and not named itself -> the test that goes through it."""


def by_name(module: str) -> list[Path]:
    """The tests that have its name."""
    name = module.rpartition("/")[2].rstrip("_")
    return [test for test in TESTS if re.search(rf"_{re.escape(name)}(_|\.|s\.|s_)", test.name)]


def through(module: str) -> str | None:
    """The entry of the table that is about a module."""
    room = module.rpartition("/")[0]
    return next((key for key in (module, f"{room}/*") if key in THROUGH), None)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_tested(module: str) -> None:
    assert by_name(module) or through(module), f"write tests/{module.rpartition('/')[0]}/test_{module.rpartition('/')[2]}.py"


@pytest.mark.parametrize("entry", THROUGH)
def test_an_entry_leads_from_a_module_to_a_test(entry: str) -> None:
    assert (ROOT / "tests" / THROUGH[entry]).is_file()
    assert [module for module in MODULES if through(module) == entry], f"there is no module {entry}"


def test_a_module_without_a_test_is_seen() -> None:
    assert by_name("trace/transactions")
    assert by_name("cli/import_")
    assert not by_name("trace/no_such_module")
    assert through("describe/no_such_module") is None
