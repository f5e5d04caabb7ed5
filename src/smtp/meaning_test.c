#include "smtp/meaning.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static const struct {
	enum meaning meaning;
	const char *reply;
} cases[] = {
#define M(name, reply)                                                                             \
	{                                                                                          \
		MEANING_##name, reply                                                              \
	}
	M(TAKEN, "250 2.1.5 Ok"),
	M(TAKEN, "250 accepted"),
	M(TAKEN, "251 User not local; will forward"),
	M(TAKEN, "250"),

	/* Postfix */
	M(NO_USER, "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown in local "
		   "recipient table"),
	M(NO_USER, "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown in virtual "
		   "mailbox table"),
	M(NO_USER, "550 5.1.1 <a@b.example>: Recipient address rejected: User unknown in relay "
		   "recipient table"),
	M(NO_USER, "550 5.1.1 <a@b.example>: Recipient address rejected: undeliverable address: "
		   "unknown user: \"a\""),
	M(NO_USER, "550 5.1.0 <a@b.example>: Recipient address rejected: User unknown"),
	M(TROUBLE, "450 4.1.1 <a@b.example>: Recipient address rejected: User unknown in local "
		   "recipient table"),
	M(TROUBLE, "450 4.1.1 <a@b.example>: Recipient address rejected: unverified address: "
		   "Address verification in progress"),
	M(TROUBLE, "451 4.3.0 <a@b.example>: Temporary lookup failure"),
	M(TROUBLE, "452 4.5.3 Error: too many recipients"),
	M(TROUBLE, "452 4.3.1 Insufficient system storage"),
	M(TROUBLE, "450 4.1.8 <x@y.example>: Sender address rejected: Domain not found"),
	M(POLICY, "550 5.1.8 <x@y.example>: Sender address rejected: Domain not found"),
	M(POLICY, "550 5.1.0 <x@y.example>: Sender address rejected: User unknown in virtual "
		  "mailbox table"),
	M(POLICY, "550 5.7.23 <a@b.example>: Recipient address rejected: Message rejected due to: "
		  "SPF fail - not authorized"),
	M(POLICY, "554 5.7.1 <a@b.example>: Recipient address rejected: Access denied"),
	M(POLICY, "552 5.3.4 Message size exceeds fixed limit"),
	M(POLICY, "554 5.4.0 Error: too many hops"),
	M(POLICY, "530 5.7.0 Must issue a STARTTLS command first"),
	M(RELAYING, "554 5.7.1 <a@b.example>: Relay access denied"),
	M(RELAYING, "454 4.7.1 <a@b.example>: Relay access denied"),
	M(BLOCKED, "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked using "
		   "zen.spamhaus.org; https://www.spamhaus.org/query/ip/192.0.2.7"),
	M(BLOCKED, "554 5.7.1 <mx2.example.net[192.0.2.7]>: Client host rejected: Access denied"),
	M(BLOCKED, "450 4.7.1 Client host rejected: cannot find your hostname, [192.0.2.7]"),
	M(BLOCKED, "450 4.7.1 <mx2>: Helo command rejected: Host not found"),
	M(THROTTLED, "421 4.7.0 mx.b.example Error: too many connections from 192.0.2.7"),
	M(THROTTLED, "450 4.7.1 Error: too much mail from 192.0.2.7"),
	M(THROTTLED, "450 4.7.1 Error: too many new recipients from 192.0.2.7"),
	M(GREYLISTED, "450 4.2.0 <a@b.example>: Recipient address rejected: Greylisted, see "
		      "http://postgrey.schweikert.ch/help/b.example.html"),
	M(FULL, "552 5.2.2 <a@b.example>: Recipient address rejected: Quota exceeded (mailbox for "
		"user is full)"),
	M(FULL, "452 4.2.2 <a@b.example>: Recipient address rejected: Mailbox is full / Blocks "
		"limit exceeded"),

	/* Rspamd, milter-greylist, Exim's greylists */
	M(GREYLISTED, "451 4.7.1 Try again later"),
	M(GREYLISTED, "451 4.7.1 Greylisting in action, please come back later"),
	M(GREYLISTED, "451 Greylisted, please try again in 300 seconds"),
	M(POLICY, "554 5.7.1 Spam message rejected"),

	/* Exim */
	M(NO_USER, "550 Unrouteable address"),
	M(NO_USER, "550 Unknown user"),
	M(NO_USER, "550 No such user here"),
	M(NO_USER, "550 Callout verification failed: 550 5.1.1 User unknown"),
	M(POLICY,
	  "550 Verification failed for <x@y.example> No Such User Here Sender verify failed"),
	M(POLICY,
	  "550 Verification failed for <x@y.example> Unrouteable address Sender verify failed"),
	M(POLICY, "550 Administrative prohibition"),
	M(RELAYING, "550 relay not permitted"),
	M(TROUBLE, "451 Temporary local problem - please try later"),
	M(BLOCKED, "550 192.0.2.7 is listed at bl.spamcop.net"),
	M(BLOCKED, "550 JunkMail rejected - mx2.example.net [192.0.2.7] is in an RBL"),
	M(BLOCKED, "550 Access denied - Invalid HELO name (See RFC2821 4.1.1.1)"),
	M(THROTTLED, "421 Too many concurrent SMTP connections; please try again later."),
	M(POLICY,
	  "550 \"The mail server could not deliver mail to a@b.example.  The account or domain may "
	  "not exist, they may be blacklisted, or missing the proper dns entries.\""),
	M(FULL, "552 \"The mail server detected your message would put the account over quota\""),

	/* Gmail */
	M(NO_USER, "550 5.1.1 The email account that you tried to reach does not exist. Please try "
		   "double-checking the recipient's email address for typos or unnecessary spaces. "
		   "Learn more at https://support.google.com/mail/?p=NoSuchUser x1 - gsmtp"),
	M(NO_USER, "550 5.2.1 The email account that you tried to reach is disabled. Learn more at "
		   "https://support.google.com/mail/?p=DisabledUser x1 - gsmtp"),
	M(THROTTLED,
	  "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents "
	  "additional messages from being delivered. Please resend your message at a later time."),
	M(THROTTLED, "550 5.2.1 The user you are trying to contact is receiving mail at a rate "
		     "that prevents additional messages from being delivered."),
	M(FULL, "452 4.2.2 The recipient's inbox is out of storage space. "
		"https://support.google.com/mail/?p=OverQuotaTemp"),
	M(FULL, "552 5.2.2 The email account that you tried to reach is over quota."),
	M(THROTTLED, "421 4.7.28 Our system has detected an unusual rate of unsolicited mail "
		     "originating from your IP address."),
	M(BLOCKED,
	  "550 5.7.25 The IP address sending this message does not have a PTR record setup"),
	M(BLOCKED, "550 5.7.1 [192.0.2.7] The IP you're using to send mail is not authorized to "
		   "send email directly to our servers."),
	M(POLICY, "550 5.7.26 This mail has been blocked because the sender is unauthenticated. "
		  "Gmail requires all senders to authenticate with either SPF or DKIM."),

	/* Exchange, Exchange Online, Outlook.com */
	M(NO_USER, "550 5.1.1 RESOLVER.ADR.RecipNotFound; not found"),
	M(NO_USER, "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient a@b.example not found by "
		   "SMTP address lookup"),
	M(NO_USER, "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) "
		   "[x.prod.outlook.com]"),
	M(NO_USER, "550 5.1.1 User unknown"),
	M(NO_USER, "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302)."),
	M(RELAYING, "550 5.7.1 Unable to relay for a@b.example"),
	M(RELAYING, "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"),
	M(POLICY, "550 5.7.1 RESOLVER.RST.AuthRequired; authentication required"),
	M(POLICY, "550 5.7.511 Access denied, banned sender[192.0.2.7]."),
	M(BLOCKED, "550 5.7.606 Access denied, banned sending IP [192.0.2.7]. To request removal "
		   "from this list please visit https://sender.office.com/"),
	M(BLOCKED,
	  "550 5.7.1 Unfortunately, messages from [192.0.2.7] weren't sent. Please contact your "
	  "Internet service provider since part of their network is on our block list (S3140)."),
	M(BLOCKED, "451 4.7.651 The mail server [192.0.2.7] has been temporarily deferred due to "
		   "IP reputation."),
	M(THROTTLED, "421 4.3.2 The maximum number of concurrent connections has exceeded a limit, "
		     "closing transmission channel"),
	M(THROTTLED, "451 4.7.500 Server busy. Please try again later from [192.0.2.7]. (AS77713)"),
	M(TROUBLE, "421 4.3.2 Service not active"),
	M(TROUBLE, "452 4.3.1 Insufficient system resources (UsedDiskSpace[C:])"),
	M(FULL, "554 5.2.2 mailbox full; STOREDRV.Deliver.Exception:QuotaExceededException"),

	/* Sendmail */
	M(NO_USER, "550 5.1.1 <a@b.example>... User unknown"),
	M(RELAYING, "550 5.7.1 <a@b.example>... Relaying denied"),
	M(RELAYING,
	  "550 5.1.2 <a@b.example>... Host unknown (Name server: b.example: host not found)"),
	M(POLICY, "553 5.1.8 <x@y.example>... Domain of sender address x@y.example does not exist"),
	M(TROUBLE, "451 4.1.8 Domain of sender address x@y.example does not resolve"),
	M(POLICY, "550 5.7.1 Access denied"),
	M(BLOCKED, "550 5.7.1 Fix reverse DNS for 192.0.2.7"),
	M(BLOCKED, "550 5.7.1 Mail from 192.0.2.7 refused by blackhole site bl.example"),
	M(THROTTLED, "421 4.3.2 Connection rate limit exceeded."),
	M(THROTTLED, "421 4.3.2 Too many open connections."),
	M(TROUBLE, "452 4.4.5 Insufficient disk space; try again later"),

	/* qmail and its patches */
	M(NO_USER, "550 sorry, no mailbox here by that name. (#5.1.1 - chkuser)"),
	M(NO_USER, "511 sorry, no mailbox here by that name (#5.1.1 - chkuser)"),
	M(RELAYING, "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)"),
	M(POLICY, "553 sorry, your envelope sender has been denied (#5.7.1)"),
	M(BLOCKED, "553 sorry, your IP has been banned (#5.7.1)"),
	M(FULL, "552 sorry, the recipient's mailbox is over quota (#5.2.2)"),

	/* OpenSMTPD, Courier, MDaemon, hMailServer, Domino, MailEnable, CommuniGate */
	M(NO_USER, "550 Invalid recipient: <a@b.example>"),
	M(TROUBLE, "421 Temporary Error"),
	M(NO_USER, "550 User <a@b.example> unknown"),
	M(RELAYING, "513 Relaying denied."),
	M(NO_USER, "550 <a@b.example>, Recipient unknown"),
	M(NO_USER, "550 Unknown user"),
	M(NO_USER, "554 a@b.example not listed in Domino Directory"),
	M(NO_USER, "550 a@b.example... No such user"),
	M(NO_USER, "550 Requested action not taken: mailbox unavailable or not local"),
	M(NO_USER, "550 a@b.example unknown user account"),
	M(FULL, "522 a@b.example account is full (quota exceeded)"),

	/* Yahoo, Yandex, Mail.ru, GMX, T-Online */
	M(NO_USER, "554 delivery error: dd This user doesn't have a yahoo.com account "
		   "(a@b.example) [0] - mta1"),
	M(THROTTLED, "421 4.7.0 [TSS04] Messages from 192.0.2.7 temporarily deferred due to "
		     "unexpected volume or user complaints"),
	M(BLOCKED, "553 5.7.1 [BL21] Connections will not be accepted from 192.0.2.7, because the "
		   "ip is in Spamhaus's list"),
	M(NO_USER, "550 5.7.1 No such user!"),
	M(NO_USER, "550 Message was not accepted -- invalid mailbox.  Local mailbox a@b.example is "
		   "unavailable: user not found"),
	M(POLICY,
	  "550 Requested action not taken: mailbox unavailable Reject due to policy restrictions."),
	M(BLOCKED, "554 IP=192.0.2.7 - None/bad reputation. Contact the postmaster"),

	/* IronPort, Mimecast, Proofpoint, Barracuda */
	M(NO_USER, "550 #5.1.0 Address rejected."),
	M(THROTTLED, "452 Too many recipients received this hour"),
	M(THROTTLED, "421 #4.4.5 Too many connections to this host."),
	M(BLOCKED, "554 Your access to this mail system has been rejected due to the sending MTA's "
		   "poor reputation."),
	M(NO_USER, "550 Invalid Recipient - https://community.mimecast.com/docs/DOC-1369#550 [x]"),
	M(GREYLISTED, "451 Internal resources are temporarily unavailable - greylisting "
		      "https://community.mimecast.com/docs/DOC-1369#451"),
	M(BLOCKED, "554 Blocked - see https://ipcheck.proofpoint.com/?ip=192.0.2.7"),

	/* What the client wrote, or nobody, does not count. */
	M(NO_USER, "550 5.1.1 <blacklist@b.example>: Recipient address rejected: User unknown"),
	M(NO_USER,
	  "550 5.1.1 <\"rate limit\"@b.example>: Recipient address rejected: User unknown"),
	M(POLICY, "550 5.7.1 <no such user@b.example>: refused"),
	M(POLICY, "550 see https://b.example/no such?user unknown@x"),
	M(NO_USER, "550 5.1.1"),
	M(POLICY, "550"),
	M(POLICY, "550 rejected"),
	M(POLICY, "500 5.5.1 unknown command"),
	M(TROUBLE, "450"),
	M(THROTTLED, "450 4.7.0 not now"),
	M(POLICY, "550 4.1.1 codes that disagree are none"),
	M(POLICY, "550 5.1.1.1 an address is no code"),
	M(POLICY, "550 warble"), /* ends in a word of the table */

	M(NONE, "354 go on"),
	M(NONE, ""),
	M(NONE, "no answer"),
	M(NONE, "mx.b.example[192.0.2.1] said to RCPT: 550 5.1.1 no such user"),
	M(NONE, "5501 no such user"),
	M(NONE, "650 no such user"),
#undef M
};

static void a_reply_means(void **state)
{
	(void)state;
	for (size_t i = 0; i < ELEMENTS(cases); i++) {
		enum meaning m = meaning_of(str_of(cases[i].reply));

		if (m != cases[i].meaning)
			fail_msg("\"%s\" is \"%s\", not \"%s\"", cases[i].reply, meaning_name(m),
				 meaning_name(cases[i].meaning));
	}
}

/* As it came over the wire, in several lines. */
static void lines_are_read_together(void **state)
{
	str wire = STR("550-5.1.1 The email account that you tried to\r\n"
		       "550-5.1.1 reach does not exist.\r\n550 5.1.1 - gsmtp\r\n");
	struct reply r;
	size_t used;

	(void)state;
	reply_init(&r);
	assert_int_equal(reply_feed(&r, wire, &used), 1);
	assert_int_equal(meaning_of_reply(&r), MEANING_NO_USER);
	reply_done(&r);
}

static void words_past_the_bound_are_not_read(void **state)
{
	static char line[4 * MEANING_TEXT_MAX];

	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "550 ", 4);
	memcpy(line + sizeof(line) - 13, " no such user", 13);
	assert_int_equal(meaning_of(str_mem(line, sizeof(line))), MEANING_POLICY);
	memcpy(line + 100, " no such user ", 14);
	assert_int_equal(meaning_of(str_mem(line, sizeof(line))), MEANING_NO_USER);
}

static void every_meaning_has_a_name(void **state)
{
	(void)state;
	for (enum meaning m = MEANING_NONE; m <= MEANING_TROUBLE; m++)
		assert_non_null(meaning_name(m));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reply_means),
		cmocka_unit_test(lines_are_read_together),
		cmocka_unit_test(words_past_the_bound_are_not_read),
		cmocka_unit_test(every_meaning_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
