"""The set-up page's DNS, with dnspython as the phone that asks."""

import json
import random

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype

ADDRESS = "192.168.4.1"
TYPES = ("A", "AAAA", "HTTPS", "SVCB", "TXT", "PTR", "ANY", "NS", "SOA", "CNAME")


def asked(beside_peers, tmp, queries):
    """The answers to messages of dnspython."""
    made = tmp + "/answers.json"
    beside_peers(
        "dns_answers", queries=[query.to_wire().hex() for query in queries], address=ADDRESS, made=made
    )
    with open(made) as f:
        return [answer and dns.message.from_wire(bytes.fromhex(answer)) for answer in json.load(f)]


def test_dnspython_reads_every_answer(beside_peers, tmp):
    names = ("captive.apple.com", ".", "connectivitycheck.platform.hicloud.com", "A.b.", "x" * 63 + ".cn")
    longest = ".".join(["a" * 63] * 3 + ["a" * 61])
    queries = []
    for name in (*names, longest):
        for kind in TYPES:
            for edns in (-1, 0):
                queries.append(
                    dns.message.make_query(name, kind, use_edns=edns, payload=random.choice((512, 1232)))
                )
    queries[0].flags |= dns.flags.AD | dns.flags.CD
    queries[1].flags &= ~dns.flags.RD
    for query, answer in zip(queries, asked(beside_peers, tmp, queries), strict=True):
        assert query.is_response(answer)
        assert answer.rcode() == dns.rcode.NOERROR
        assert answer.flags & ~dns.flags.RD == dns.flags.QR | dns.flags.AA | dns.flags.RA
        assert answer.edns == -1 and not answer.authority and not answer.additional
        if query.question[0].rdtype != dns.rdatatype.A:
            assert not answer.answer
            continue
        (found,) = answer.answer
        assert found.name == query.question[0].name and found.ttl == 5
        assert [record.address for record in found] == [ADDRESS]


def test_what_dnspython_would_not_ask_gets_no_answer(beside_peers, tmp):
    reply = dns.message.make_response(dns.message.make_query("captive.apple.com", "A"))
    notify = dns.message.make_query("captive.apple.com", "A")
    notify.set_opcode(dns.opcode.NOTIFY)
    two = dns.message.make_query("captive.apple.com", "A")
    two.question.append(dns.message.make_query("www.apple.com", "A").question[0])
    assert asked(beside_peers, tmp, [reply, notify, two, dns.message.Message()]) == [None] * 4
