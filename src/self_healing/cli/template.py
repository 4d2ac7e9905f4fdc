"""The configuration that ``self-healing init`` writes: every setting with its default, in observe mode."""

TEMPLATE = """\
# Configuration of self-healing. Every setting is here with its default, but for `mode`, which starts in observe.
# Variables such as SELF_HEALING_TELEMETRY_DIR win over this file, and flags such as --telemetry-dir win over both.
# Durations are whole numbers with s, m, h or d, or several: 1h30m. Relative paths start where a command runs.
# `self-healing config validate` says what is wrong with it. An editor completes and checks it after
# `self-healing config schema > self-healing.schema.json`, with the first line #:schema ./self-healing.schema.json

# Which of several fleets this is, such as "production": it stands on every handoff, notification, metric and page.
environment = ""

[telemetry]
# Where your agents write what happens: JSON lines, in files such as events-20260105.jsonl. The directory is watched.
dir = "logs/telemetry"
# What comes in otherwise is kept in segments in the state, once it was read for this long, a day at least ...
keep = "7d"
# ... and up to so many bytes; the oldest goes first.
keep_bytes = 10737418240
# Folders into which test runners write JUnit XML; each file is read once. Watched while the service runs.
junit_dirs = []
# The agent whose tests those are where a suite has no property "agent"; "" is nobody.
junit_agent = ""

[triggers]
# Files of [[trigger]] tables. A table named like a default changes only the keys that it gives; another name declares a
# new trigger. Such a file, to call tasks slow from five minutes on:
#   [[trigger]]
#   name = "slow_tasks"
#   condition = { kind = "threshold", op = ">=", value = 300 }
files = []
# Files of [[test]] tables: what triggers must do, run whenever they are loaded. One that fails refuses the start.
tests = []
# How often triggers are evaluated: 1s to 60s.
grid = "1s"
# How many groups are kept apart for each group_by; what comes of further ones counts for one group, overflow.
max_groups = 20000
# How long after a start of the service mere silence opens no incident.
warm_up = "60s"

[actions]
# Files of [[action]] tables, by the same rules. Such a file, to send analyses to an agent of yours:
#   [[action]]
#   name = "analyze_slow_tasks"
#   target_agent = "Investigator"
files = []
# "observe" records what would have been done and does nothing. Switch to "act" once you agree with what you see.
mode = "observe"
# Who gets the handoffs that no agent may have: escalations, and those whose recipient is the agent that they are about.
fallback = "Operator"
# The channel of the recipients that no channel serves: file, or the name of one.
fallback_channel = "file"

[actions.channels]
# Every handoff is a file; channels bring it to its recipient as well. Such a table, for a program of yours:
#   [actions.channels.tickets]
#   kind = "command"
#   argv = ["./open-ticket"]
#   agents = ["ChiefArchitectAgent"]

[constitution]
# Files of Cedar policies, *.cedar, which forbid besides what the five articles do. Such a file:
#   @id("no_shutdown_at_night")
#   forbid (principal, action, resource)
#   when { context.proposal.type == "emergency_shutdown" && context.proposal.hour < 6 };
files = []

[constitution.limits]
# Actions under way at once, in the whole fleet.
concurrent_actions = 5
# Actions under way at once for one agent.
concurrent_per_target = 1
# Actions begun in a minute, in the whole fleet.
actions_per_minute = 6
# The same while more than half of the fleet is unwell: then the cause is hardly in each agent.
actions_per_minute_unwell = 2
# The part of the fleet, in percent, that one kind of action may hold at once; one agent always may be.
blast_radius_percent = 10
# With more than this part of a fleet of three or more unwell with one cause, single agents are left alone and a
# person is told.
fleet_stop_percent = 40
# Tries at one incident before a person gets it.
attempts_per_incident = 3
# Tries at one agent in a day.
attempts_per_target_per_day = 5
# The pause between two actions for one agent. It doubles each time ...
cool_down = "10s"
# ... up to this ...
cool_down_max = "5m"
# ... and starts anew after so much healthy time.
cool_down_reset = "10m"
# Actions that may have caused one another, in a row, before a person gets it.
causal_depth = 3
# Signals of different kinds, by different ways in, that must agree before what cannot be undone is even asked for.
independent_signals = 2
# A person's yes to what cannot be undone must come within this; after that it is a no.
approve_within = "15m"
# An action that fails this often in a row is not tried ...
breaker_failures = 5
# ... for this long; then once, to see.
breaker_half_open_after = "5m"
# Telemetry that waits to be read for longer than this is too old to act on.
freshness = "60s"
# A decision older than this is made anew before anything is done.
plan_freshness = "5m"
# What had to wait for longer than this goes to a person.
defer_at_most = "15m"

[storage]
# Incidents, directives, executions and the audit log. One service, or one command that writes, owns it at a time.
state_dir = ".self-healing"
# Log files, and the handoffs in handoffs/ beneath it.
logs_dir = "logs"
# How long a closed incident is kept with all that was decided and done about it; two days at least.
keep = "90d"
# How long an entry of the audit log is kept; no shorter than keep. What is older than that leaves it signed.
keep_audit = "365d"

[server]
# What senders must show, as "Authorization: Bearer TOKEN"; rather set it as SELF_HEALING_SERVER_TOKEN than here.
token = ""
# The address to listen on. Any other than this machine's own needs the token.
host = "127.0.0.1"
# Names by which it is called beside addresses, localhost and the host above, such as ["healing.example.org"].
hosts = []
# Origins of pages that may speak to it, where a proxy hides the port's own, such as ["https://healing.example.org"].
origins = []
# OTLP over HTTP, where OpenTelemetry's exporters send by themselves. false opens no port.
otlp_http_port = 4318
# OTLP over gRPC, when the extra "grpc" is installed. false opens no port.
otlp_grpc_port = 4317
# Dashboard, API, events, health and metrics. false opens no port.
port = 8787

[server.tokens]
# Further tokens, each for what its holder may do: send, read, operate, approve. Such a table, by the hash of one:
#   [server.tokens.grafana]
#   sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
#   scopes = ["read"]

[heartbeat]
# The name of a variable that holds the address of a monitor outside, which is called while all turns, and notices
# when it no longer is. "" calls none.
url_env = ""
# How often.
every = "60s"
# How long it may take to answer.
timeout = "10s"
# Networks that are no public ones and may be called all the same, such as ["10.0.0.0/8"].
allow = []
"""
