/*
 * locum doctor DOMAIN --snippet TOOL: the configuration by which a primary believes what this node says of a client,
 * with our addresses and names in it. Each is what that program reads, its own comments included, and says why.
 *
 * A primary sees this node by one of `addresses` or those of its interfaces: all of them are named but loopback and
 * link-local ones, which nobody else can come from.
 */
#include "cli/doctor.h"
#include "cli/json.h"

#define SNIPPET_MAX (64 * 1024)

struct snippet {
	struct cli *cli;
	const struct conf *conf;
	const struct conf_domain *domain;
	const struct addr **address;
	size_t address_count;
	struct buf out;
};

/* --- our addresses, as lists of several manners --- */

static bool is_reachable(const struct addr *a)
{
	static const uint8_t loopback6[16] = { [15] = 1 };

	if (addr_is_any(a))
		return false;
	if (a->family == AF_INET)
		return a->ip[0] != 127 && !(a->ip[0] == 169 && a->ip[1] == 254);
	return memcmp(a->ip, loopback6, sizeof(loopback6)) != 0 &&
	       !(a->ip[0] == 0xfe && (a->ip[1] & 0xc0) == 0x80);
}

static void add_address(struct snippet *s, const struct addr *a, bool every)
{
	if (addr_is_any(a) || (!every && !is_reachable(a)))
		return;
	for (size_t i = 0; i < s->address_count; i++)
		if (addr_same_ip(s->address[i], a))
			return;
	s->address[s->address_count++] = a;
}

/* every: loopback too, where there is nothing else (a primary on this machine). */
static void collect_addresses(struct snippet *s, bool every)
{
	for (size_t i = 0; i < s->conf->address_count; i++)
		add_address(s, &s->conf->addresses[i], every);
	for (size_t i = 0; i < s->conf->listen_count; i++)
		add_address(s, &s->conf->listen[i].address, every);
}

/* What stands around each address, by family, and between two of them. family: only those; AF_UNSPEC: all. */
struct manner {
	int family;
	const char *before4, *before6, *after4, *after6, *between;
};

static size_t list(struct snippet *s, const struct manner *m)
{
	char text[ADDR_TEXT_SIZE];
	size_t n = 0;

	for (size_t i = 0; i < s->address_count; i++) {
		const struct addr *a = s->address[i];
		bool six = a->family == AF_INET6;

		if (m->family != AF_UNSPEC && m->family != a->family)
			continue;
		buf_addf(&s->out, "%s%s%s%s", n++ ? m->between : "", six ? m->before6 : m->before4,
			 addr_ip_text(a, text), six ? m->after6 : m->after4);
	}
	return n;
}

static void say(struct snippet *s, const char *text)
{
	buf_add(&s->out, str_of(text));
}

/* --- the programs --- */

static void postfix(struct snippet *s)
{
	static const struct manner plain = { AF_UNSPEC, "", "[", "", "]", ", " };
	static const struct manner cidr = {
		AF_UNSPEC, "{", "{", "/32 permit}", "/128 permit}", " "
	};

	say(s, "# Postfix, main.cf: add to what stands there, then `postfix reload`.\n"
	       "#\n"
	       "# This node alone may say who a client was (XCLIENT). From then on Postfix, its "
	       "policy\n"
	       "# servers and its milters (Rspamd, OpenDKIM, ...) judge that client and not this "
	       "node:\n"
	       "# lists, HELO, SPF, DMARC and logs are the same as if it had come directly.\n"
	       "smtpd_authorized_xclient_hosts = ");
	list(s, &plain);
	say(s,
	    "\n"
	    "# Keep this node out of mynetworks (`postconf mynetworks` shows them): it needs no "
	    "relay\n"
	    "# rights, and a client that it names must not get any.\n"
	    "#\n"
	    "# Whoever brings many clients' mail is no flood: limits count this node otherwise.\n"
	    "smtpd_client_event_limit_exceptions = $mynetworks, ");
	list(s, &plain);
	say(s,
	    "\n"
	    "# Only with postscreen, which looks at the connection before anything can be said on "
	    "it\n"
	    "# (an inline table needs Postfix 3.7; else put its lines into a file, cidr:/FILE).\n"
	    "postscreen_access_list = permit_mynetworks, cidr:{");
	list(s, &cidr);
	say(s, "}\n");
}

static void exim(struct snippet *s)
{
	static const struct manner semicolon = { AF_UNSPEC, "", "", "", "", " ; " };

	say(s, "# Exim, main section.\n"
	       "#\n"
	       "# This node, for the lines below.\n"
	       "hostlist locum_hosts = <; ");
	list(s, &semicolon);
	say(s, "\n"
	       "# Where this Exim has XCLIENT: this node may say who a client was, and every check "
	       "of\n"
	       "# that session is about the client. Exim before 4.97 has none; whether this one "
	       "has says\n"
	       "#     exim -bP macros | grep HOSTS_XCLIENT\n"
	       ".ifdef _OPT_MAIN_HOSTS_XCLIENT\n"
	       "hosts_xclient = +locum_hosts\n"
	       ".endif\n"
	       "#\n"
	       "# Without it, checks of the client would judge this node. Leave it out of them, in "
	       "the\n"
	       "# ACLs, by the condition\n"
	       "#     !hosts = +locum_hosts\n"
	       "# in each statement with dnslists, spf, dmarc, ratelimit, or verify = helo or\n"
	       "# reverse_host_lookup. The client stands in the topmost Received header; a scanner "
	       "behind\n"
	       "# Exim reads it there (--snippet rspamd, --snippet spamassassin). This node relays "
	       "for\n"
	       "# nobody: it belongs into no relay_from_hosts.\n");
}

static void rspamd(struct snippet *s)
{
	say(s, "# Rspamd, local.d/external_relay.conf.\n"
	       "#\n"
	       "# Behind a Postfix with --snippet postfix nothing is needed: the milter is told of "
	       "the\n"
	       "# client itself, and this rule never applies. It is for mail servers without "
	       "XCLIENT: when\n"
	       "# the connection comes from this node (by its reverse name, which must be right), "
	       "client\n"
	       "# and HELO are taken from the Received header that this node wrote.\n"
	       "rules {\n"
	       "  LOCUM_RELAY {\n"
	       "    strategy = \"hostname_map\";\n"
	       "    hostname_map = [");
	buf_addf(&s->out, "\"%.*s\"", STR_ARG(s->conf->hostname));
	for (size_t i = 0; i < s->conf->alias_count; i++)
		buf_addf(&s->out, ", \"%.*s\"", STR_ARG(s->conf->aliases[i]));
	say(s, "];\n"
	       "  }\n"
	       "}\n"
	       "# Do not add this node to local_addrs (options.inc): what comes from there is not "
	       "checked.\n"
	       "# In options.inc: one more Received header is one more address to ask lists about, "
	       "and\n"
	       "# questions past the bound (64 a message) are left out.\n"
	       "#   dns_max_requests = 128;\n");
}

static void spamassassin(struct snippet *s)
{
	static const struct manner words = { AF_UNSPEC, "", "", "", "", " " };

	say(s, "# SpamAssassin, local.cf.\n"
	       "#\n"
	       "# This node is an MX of the domain: SpamAssassin believes its Received header and "
	       "looks\n"
	       "# through it, so that lists, SPF and HELO rules are about the client that came to "
	       "it.\n"
	       "# Once trusted_networks stands here nothing is guessed any more: name the "
	       "primary's own\n"
	       "# addresses in both lines too.\n"
	       "clear_trusted_networks\n"
	       "clear_internal_networks\n"
	       "trusted_networks ");
	list(s, &words);
	say(s, "\ninternal_networks ");
	list(s, &words);
	say(s, "\n");
}

static void exchange(struct snippet *s)
{
	static const struct manner quoted = { AF_INET, "\"", "", "\"", "", "," };
	struct buf *out = &s->out;

	buf_addf(out,
		 "# Exchange Online PowerShell: an inbound connector for this node, with enhanced\n"
		 "# filtering (\"skip listing\"): the sending address is then the one before this "
		 "node in\n"
		 "# the Received headers, and SPF, DMARC and reputation are about the client. Skip "
		 "this\n"
		 "# node alone: whatever else is skipped can lie about where mail came from.\n"
		 "New-InboundConnector -Name \"Backup MX %.*s\" -ConnectorType Partner `\n"
		 "  -SenderDomains \"*\" -RequireTls $true -SenderIPAddresses ",
		 STR_ARG(s->conf->hostname));
	if (list(s, &quoted) == 0)
		say(s, "@() # this node has no IPv4 address, and connectors take no other");
	buf_addf(out,
		 "\nSet-InboundConnector -Identity \"Backup MX %.*s\" -EFSkipLastIP $false `\n"
		 "  -EFSkipIPs ",
		 STR_ARG(s->conf->hostname));
	if (list(s, &quoted) == 0)
		say(s, "@()");
	say(s, "\n"
	       "# It reads IPv4 addresses only: let this node reach Exchange by IPv4.\n"
	       "# Exchange Server on your own machines has no such thing: leave this node out of\n"
	       "# connection filtering and sender ID there, with\n"
	       "#   Set-TransportConfig -InternalSMTPServers @{Add=");
	if (list(s, &quoted) == 0)
		say(s, "\"\"");
	say(s, "}\n");
}

static const struct tool {
	const char *name;
	void (*write)(struct snippet *s);
} tools[] = {
	{ "postfix", postfix },           { "exim", exim },         { "rspamd", rspamd },
	{ "spamassassin", spamassassin }, { "exchange", exchange },
};

static const struct tool *tool_find(const char *name)
{
	for (size_t i = 0; i < ELEMENTS(tools); i++)
		if (strcmp(tools[i].name, name) == 0)
			return &tools[i];
	return NULL;
}

static int print(struct snippet *s, const struct tool *tool)
{
	json_t *o;

	if (!s->cli->json) {
		fprintf(s->cli->out, "%.*s", STR_ARG(buf_str(&s->out)));
		return CLI_OK;
	}
	o = json_object();
	json_object_set_new(o, "domain", js_text(s->domain->name));
	json_object_set_new(o, "tool", json_string(tool->name));
	json_object_set_new(o, "snippet", js_text(buf_str(&s->out)));
	return js_print(s->cli, o);
}

int doctor_snippet(struct cli *cli, const struct conf *c, const struct conf_domain *domain,
		   const char *tool_name)
{
	const struct tool *tool = tool_find(tool_name);
	struct snippet s = { .cli = cli, .conf = c, .domain = domain };
	int r;

	if (!tool)
		return cli_fail(
			cli, CLI_USAGE,
			"--snippet \"%s\": there are postfix, exim, rspamd, spamassassin and "
			"exchange",
			tool_name);
	s.address =
		ARENA_ARRAY(&cli->arena, const struct addr *, c->address_count + c->listen_count);
	if (!s.address)
		return cli_fail(cli, CLI_NOTHING, "out of memory");
	collect_addresses(&s, false);
	if (s.address_count == 0)
		collect_addresses(&s, true);
	if (s.address_count == 0)
		return cli_fail(cli, CLI_CONFIG,
				"no address of this node is known; write it in the configuration: "
				"addresses = {\"192.0.2.7\"}");
	buf_init(&s.out, SNIPPET_MAX);
	tool->write(&s);
	r = print(&s, tool);
	buf_done(&s.out);
	return r;
}
