#include "proc/smtpout/pool.h"

#include "proc/smtpout/fake_server.h"

static const char *const silent[] = { NULL };

struct fixture {
	struct pool pool;
	struct fake_server server[POOL_IDLE_MAX + 2];
	unsigned servers;
};

static struct conn *connect_to(struct task *tk, struct fixture *f, str destination)
{
	struct conn_peer peer = { destination, STR("mx"), STR("192.0.2.1:25") };
	struct conn *c;
	int fd = fake_server_start(task_loop(tk), &f->server[f->servers++], silent, NULL);

	assert_int_equal(conn_new(task_loop(tk), fd, &peer, &c), 0);
	return c;
}

static void tear_down(struct task *tk, struct fixture *f)
{
	pool_close(tk, &f->pool, task_in(tk, 2 * NSEC_S));
	pool_done(&f->pool);
	for (unsigned i = 0; i < f->servers; i++) {
		while (!f->server[i].ended)
			task_sleep(tk, NSEC_MS);
		fake_server_done(&f->server[i]);
	}
}

static void by_destination(struct task *tk, void *arg)
{
	struct fixture *f = arg;
	struct conn *one, *other;

	assert_int_equal(pool_init(&f->pool, task_loop(tk)), 0);
	assert_null(pool_take(&f->pool, STR("a.example")));
	pool_note_route(&f->pool, STR("a.example"), STR("mx1:25"));
	pool_note_route(&f->pool, STR("b.example"), STR("mx2:25"));
	pool_note_route(&f->pool, STR("c.example"), STR("mx1:25"));
	one = connect_to(tk, f, STR("mx1:25"));
	pool_give(&f->pool, one);
	assert_null(pool_take(&f->pool, STR("b.example")));
	/* Domains with the same primary share its connections. */
	assert_ptr_equal(pool_take(&f->pool, STR("C.example")), one);
	assert_true(one->reused);
	assert_null(pool_take(&f->pool, STR("a.example")));
	/* A domain that moved takes those of its new destination. */
	other = connect_to(tk, f, STR("mx2:25"));
	pool_give(&f->pool, other);
	pool_give(&f->pool, one);
	pool_note_route(&f->pool, STR("a.example"), STR("mx2:25"));
	assert_ptr_equal(pool_take(&f->pool, STR("a.example")), other);
	pool_give(&f->pool, other);
	tear_down(tk, f);
	assert_true(f->server[0].got_quit && f->server[1].got_quit);
}

static void limits(struct task *tk, void *arg)
{
	struct fixture *f = arg;
	struct conn *c;

	assert_int_equal(pool_init(&f->pool, task_loop(tk)), 0);
	pool_note_route(&f->pool, STR("a.example"), STR("mx:25"));
	c = connect_to(tk, f, STR("mx:25"));
	c->broken = true;
	pool_give(&f->pool, c);
	assert_null(pool_take(&f->pool, STR("a.example")));
	c = connect_to(tk, f, STR("mx:25"));
	c->transactions = POOL_TRANSACTIONS_MAX;
	pool_give(&f->pool, c);
	assert_null(pool_take(&f->pool, STR("a.example")));
	while (!f->server[0].ended || !f->server[1].ended)
		task_sleep(tk, NSEC_MS);
	assert_false(f->server[0].got_quit);
	assert_true(f->server[1].got_quit);
	tear_down(tk, f);
}

static void crowd(struct task *tk, void *arg)
{
	struct fixture *f = arg;

	assert_int_equal(pool_init(&f->pool, task_loop(tk)), 0);
	for (int i = 0; i < POOL_IDLE_MAX + 1; i++)
		pool_give(&f->pool, connect_to(tk, f, STR("mx:25")));
	assert_int_equal(f->pool.idle_count, POOL_IDLE_MAX);
	while (!f->server[0].ended)
		task_sleep(tk, NSEC_MS);
	assert_true(f->server[0].got_quit);
	assert_false(f->server[1].ended);
	pool_empty(&f->pool);
	assert_int_equal(f->pool.idle_count, 0);
	tear_down(tk, f);
}

static nsec wait_for_quit(struct task *tk, const struct fake_server *server)
{
	for (int i = 0; !server->got_quit && i < 3000; i++)
		task_sleep(tk, NSEC_MS);
	assert_true(server->got_quit);
	return sys_now();
}

static void age(struct task *tk, void *arg)
{
	struct fixture *f = arg;
	nsec given[2];
	struct conn *c;

	assert_int_equal(pool_init(&f->pool, task_loop(tk)), 0);
	f->pool.idle_time = 60 * NSEC_MS;
	for (int i = 0; i < 2; i++) {
		task_sleep(tk, 20 * NSEC_MS); /* the janitor waits by now */
		given[i] = task_now(tk);
		pool_give(&f->pool, connect_to(tk, f, STR("mx:25")));
	}
	for (int i = 0; i < 2; i++)
		assert_true(wait_for_quit(tk, &f->server[i]) >= given[i] + f->pool.idle_time);
	/* A route is not believed for ever, even if its connections would last. */
	pool_note_route(&f->pool, STR("a.example"), STR("mx:25"));
	c = connect_to(tk, f, STR("mx:25"));
	pool_give(&f->pool, c);
	assert_ptr_equal(pool_take(&f->pool, STR("a.example")), c);
	pool_give(&f->pool, c);
	f->pool.route_time = 0;
	pool_note_route(&f->pool, STR("a.example"), STR("mx:25"));
	assert_null(pool_take(&f->pool, STR("a.example")));
	tear_down(tk, f);
}

static void routes(struct task *tk, void *arg)
{
	struct fixture *f = arg;
	char domain[30];

	assert_int_equal(pool_init(&f->pool, task_loop(tk)), 0);
	for (int i = 0; i < POOL_ROUTES_MAX + 10; i++) {
		snprintf(domain, sizeof(domain), "d%d.example", i);
		pool_note_route(&f->pool, str_of(domain), STR("mx:25"));
	}
	assert_true(f->pool.routes.count <= POOL_ROUTES_MAX);
	tear_down(tk, f);
}

#define TEST(name, fn)                                                                             \
	static void name(void **state)                                                             \
	{                                                                                          \
		struct fixture *f = calloc(1, sizeof(*f));                                         \
                                                                                                   \
		(void)state;                                                                       \
		fake_run(fn, f);                                                                   \
		free(f);                                                                           \
	}

TEST(connections_are_found_by_destination, by_destination)
TEST(a_connection_that_broke_or_carried_enough_is_not_kept, limits)
TEST(too_many_idle_connections_cost_the_oldest, crowd)
TEST(idle_connections_and_routes_grow_old, age)
TEST(remembered_routes_are_bounded, routes)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_are_found_by_destination),
		cmocka_unit_test(a_connection_that_broke_or_carried_enough_is_not_kept),
		cmocka_unit_test(too_many_idle_connections_cost_the_oldest),
		cmocka_unit_test(idle_connections_and_routes_grow_old),
		cmocka_unit_test(remembered_routes_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
