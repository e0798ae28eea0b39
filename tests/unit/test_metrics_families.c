/*
 * The families of the reference, literally: what its dashboards and alerts ask
 * for is there from the first scrape, in its order.
 */
#include "support/metrics_fixture.h"

struct expected {
	const char *name;
	const char *type;
	const char *label; /* NULL: none */
	const char *words; /* parted by blanks; NULL: one for each agent */
};

#define OUTCOMES                                                               \
	"spawned debounced reaped_zero reaped_nonzero killed spawn_failed "    \
	"refused_unauthenticated_transport refused_cross_namespace "           \
	"refused_debounce_capacity refused_outstanding_capacity "              \
	"refused_socket_mode_only skipped_agent_resumed "                      \
	"skipped_pid_recycled skipped_stall_unverifiable "                     \
	"refused_stale_child_kill_failed"

/* clang-format off */
static const struct expected families[] = {
	{ "varta_beats_total", "counter", "pid", NULL },
	{ "varta_stalls_total", "counter", "pid", NULL },
	{ "varta_status", "gauge", "pid", NULL },
	{ "varta_tracker_evicted_total", "counter", NULL, NULL },
	{ "varta_frame_auth_failures_total", "counter", NULL, NULL },
	{ "varta_decode_errors_total", "counter", "kind",
	  "bad_magic bad_version bad_status bad_pid bad_timestamp bad_nonce "
	  "stall_on_wire bad_crc" },
	{ "varta_io_errors_total", "counter", NULL, NULL },
	{ "varta_ctrl_truncated_total", "counter", NULL, NULL },
	{ "varta_tracker_capacity_exceeded_total", "counter", NULL, NULL },
	{ "varta_tracker_eviction_scan_truncated_total", "counter", NULL,
	  NULL },
	{ "varta_tracker_capacity", "gauge", NULL, NULL },
	{ "varta_tracker_eviction_scan_window_max", "gauge", NULL, NULL },
	{ "varta_recovery_outcomes_total", "counter", "outcome", OUTCOMES },
	{ "varta_recovery_duration_ns_sum", "counter", NULL, NULL },
	{ "varta_recovery_duration_count_total", "counter", NULL, NULL },
	{ "varta_recovery_refused_total", "counter", "reason",
	  "unauthenticated_transport cross_namespace_agent debounce_capacity "
	  "outstanding_capacity socket_mode_only" },
	{ "varta_recovery_last_fired_evictions_total", "counter", NULL, NULL },
	{ "varta_recovery_debounce_recycle_resets_total", "counter", NULL,
	  NULL },
	{ "varta_recovery_outstanding_recycle_resets_total", "counter", NULL,
	  NULL },
	{ "varta_recovery_spawn_budget_exceeded_total", "counter", NULL,
	  NULL },
	{ "varta_recovery_invariant_violations_total", "counter", NULL, NULL },
	{ "varta_log_suppressed_total", "counter", "kind",
	  "file_export_io audit_io prom_serve heartbeat_io audit_ring_warn "
	  "audit_ring_critical" },
	{ "varta_origin_conflict_total", "counter", NULL, NULL },
	{ "varta_frame_namespace_mismatch_total", "counter", NULL, NULL },
	{ "varta_frame_rejected_pid_above_max_total", "counter", NULL, NULL },
	{ "varta_pid_max_current", "gauge", NULL, NULL },
	{ "varta_tracker_namespace_conflict_total", "counter", NULL, NULL },
	{ "varta_tracker_pid_recycle_total", "counter", NULL, NULL },
	{ "varta_tracker_invariant_violations_total", "counter", NULL, NULL },
	{ "varta_tracker_removed_pid_drops_total", "counter", NULL, NULL },
	{ "varta_tracker_pid_index_probe_exhausted_total", "counter", NULL,
	  NULL },
	{ "varta_recovery_outstanding_probe_exhausted_total", "counter", NULL,
	  NULL },
	{ "varta_recovery_reap_truncated_total", "counter", NULL, NULL },
	{ "varta_recovery_audit_dropped_total", "counter", NULL, NULL },
	{ "varta_recovery_audit_flush_budget_exceeded_total", "counter", NULL,
	  NULL },
	{ "varta_audit_fsync_seconds", "histogram", NULL, NULL },
	{ "varta_socket_bind_dir_fsync_failed_total", "counter", NULL, NULL },
	{ "varta_audit_fsync_budget_exceeded_total", "counter", NULL, NULL },
	{ "varta_audit_rotation_budget_exceeded_total", "counter", NULL,
	  NULL },
	{ "varta_audit_ring_watermark_total", "counter", "level",
	  "warn critical" },
	{ "varta_prom_ip_state_probe_exhausted_total", "counter", NULL, NULL },
	{ "varta_prom_pid_row_refused_total", "counter", NULL, NULL },
	{ "varta_frame_decrypt_failures_total", "counter", NULL, NULL },
	{ "varta_secure_replay_refused_total", "counter", NULL, NULL },
	{ "varta_truncated_datagrams_total", "counter", NULL, NULL },
	{ "varta_sender_state_full_total", "counter", NULL, NULL },
	{ "varta_secure_aead_attempts_total", "counter", NULL, NULL },
	{ "varta_rate_limited_total", "counter", "reason", "per_pid global" },
	{ "varta_observer_uds_rcvbuf_bytes", "gauge", NULL, NULL },
	{ "varta_observer_clock_regression_total", "counter", NULL, NULL },
	{ "varta_observer_clock_jump_forward_total", "counter", NULL, NULL },
	{ "varta_scrape_skipped_total", "counter", NULL, NULL },
	{ "varta_scrape_budget_exhausted_total", "counter", NULL, NULL },
	{ "varta_observer_iteration_seconds", "histogram", NULL, NULL },
	{ "varta_observer_iteration_budget_exceeded_total", "counter", NULL,
	  NULL },
	{ "varta_observer_serve_pending_seconds", "histogram", NULL, NULL },
	{ "varta_observer_scrape_budget_exceeded_total", "counter", NULL,
	  NULL },
	{ "varta_observer_stage_seconds", "histogram", "stage",
	  "drain_pending poll maintenance recovery_reap serve_pending "
	  "housekeeping" },
	{ "varta_prom_auth_failures_total", "counter", NULL, NULL },
	{ "varta_prom_connections_dropped_total", "counter", "reason",
	  "drain rate_limit ip_table_full" },
	{ "varta_nonce_wrap_total", "counter", NULL, NULL },
	{ "varta_signal_handler_install_total", "counter", "mode", "libc" },
	{ "varta_watch_uptime_seconds", "gauge", NULL, NULL },
	{ "varta_watch_last_poll_loop_timestamp_seconds", "gauge", NULL,
	  NULL },
	{ "varta_watch_pids_tracked", "gauge", NULL, NULL },
};

/* The bounds of its histograms. */
static const char *const bounds[] = { "0.001", "0.005", "0.01", "0.05", "0.1",
	"0.25", "0.5", "1", "+Inf" };
/* clang-format on */

_Static_assert(ARRAY_SIZE(families) == 65, "as many as the reference has");

/* The text at *at begins with these words, which are passed over. */
static void
expect(const char **at, const char *words)
{
	size_t n = strlen(words);

	if (strncmp(*at, words, n) != 0)
		print_error("want: %s\nhave: %.80s\n", words, *at);
	assert_memory_equal(*at, words, n);
	*at += n;
}

static void
pass_line(const char **at)
{
	*at = strchr(*at, '\n') + 1;
}

/* A sample of this name and label, with any value. */
static void
expect_sample(
    const char **at, const char *name, const char *suffix, const char *labels)
{
	char words[160];

	(void)snprintf(words, sizeof(words), "%s%s%s%s%s ", name, suffix,
	    labels[0] != '\0' ? "{" : "", labels, labels[0] != '\0' ? "}" : "");
	expect(at, words);
	assert_true(**at >= '0' && **at <= '9');
	pass_line(at);
}

static void
expect_samples(const char **at, const struct expected *f, const char *label)
{
	char labels[96];
	size_t i;

	if (strcmp(f->type, "histogram") != 0) {
		expect_sample(at, f->name, "", label);
		return;
	}
	for (i = 0; i < ARRAY_SIZE(bounds); i++) {
		(void)snprintf(labels, sizeof(labels), "%s%sle=\"%s\"", label,
		    label[0] != '\0' ? "," : "", bounds[i]);
		expect_sample(at, f->name, "_bucket", labels);
	}
	expect_sample(at, f->name, "_sum", label);
	expect_sample(at, f->name, "_count", label);
}

static void
expect_labelled(const char **at, const struct expected *f)
{
	const char *word = f->words;
	char label[64];
	size_t n;

	for (; *word != '\0'; word += n + strspn(word + n, " ")) {
		n = strcspn(word, " ");
		(void)snprintf(label, sizeof(label), "%s=\"%.*s\"", f->label,
		    (int)n, word);
		expect_samples(at, f, label);
	}
}

/* All of them; with one agent, or before the first. */
static void
expect_families(const char *agent_label)
{
	const char *at = text;
	char head[96];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(families); i++) {
		const struct expected *f = &families[i];

		(void)snprintf(head, sizeof(head), "# HELP %s ", f->name);
		expect(&at, head);
		pass_line(&at);
		(void)snprintf(
		    head, sizeof(head), "# TYPE %s %s\n", f->name, f->type);
		expect(&at, head);
		if (f->words != NULL)
			expect_labelled(&at, f);
		else if (f->label == NULL)
			expect_samples(&at, f, "");
		else if (agent_label != NULL)
			expect_samples(&at, f, agent_label);
	}
	/* What follows is ours. */
	expect(&at, "# HELP varta_agent_info ");
}

static void
all_families_of_the_reference_are_there_before_the_first_agent(void **state)
{
	(void)state;
	(void)render(65536, 100, 0);
	expect_families(NULL);
}

static void
those_of_agents_have_the_pid_as_their_only_label(void **state)
{
	(void)state;
	fill(1);
	(void)render(65536, 100, 5);
	expect_families("pid=\"2\"");
}

#define TEST(f) cmocka_unit_test_setup(f, fixture_setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(
		    all_families_of_the_reference_are_there_before_the_first_agent),
		TEST(those_of_agents_have_the_pid_as_their_only_label),
	};

	return cmocka_run_group_tests_name(
	    "metrics_families", tests, NULL, NULL);
}
