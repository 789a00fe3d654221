"""The lists of what hostile clients send: framing of bodies, and paths that lead out of folders.

Written from RFC 9112 (sections 5 to 7 and 11.2), the advisories in ``docs/explanation/advisories.md``, and what is
known of tools as smuggler.py, h2csmuggler and the HTTP Garden. In the bytes, ``{host}`` is a witness's, and ``{inner}`` the
request that is to be smuggled.
"""

from __future__ import annotations

INNER = b"GET /smuggled HTTP/1.1\r\nHost: {host}\r\nX-Inner: yes\r\n\r\n"

POST = b"POST /outer HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n"
TE = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def chunked(
    name: bytes = b"Transfer-Encoding", value: bytes = b"chunked", colon: bytes = b": ", end: bytes = b"\r\n"
) -> bytes:
    """A request with both framings, the inner one behind the end of its chunks (TE.CL and TE.TE)."""
    return POST + b"Content-Length: 5\r\n" + name + colon + value + end + b"\r\n0\r\n\r\n{inner}"


def length(*lines: bytes, body: bytes = b"hello") -> bytes:
    """A request with these lines in the place of its Content-Length, and the inner one behind its body."""
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body + b"{inner}"


# Two readers could differ about where the body ends: the front must refuse all of these.
AMBIGUOUS = {
    # CL.TE and TE.CL
    "CL.TE": POST + b"Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
    "TE.CL": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n{inner}\r\n0\r\n\r\n",
    "CL.0": POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
    # TE.TE: one of two readers does not know the coding
    "TE.TE twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n{inner}",
    "TE.TE twice the same": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
    "TE.TE a list": chunked(value=b"chunked, identity"),
    "TE.TE a list that ends with it": chunked(value=b"identity, chunked"),
    "TE.TE an x before": chunked(value=b"xchunked"),
    "TE.TE an x behind": chunked(value=b"chunkedx"),
    "TE.TE a comma": chunked(value=b"chunked,"),
    "TE.TE a parameter": chunked(value=b"chunked;q=1"),
    "TE.TE in quotes": chunked(value=b'"chunked"'),
    "TE.TE a tab before": chunked(value=b"\tchunked"),
    "TE.TE a tab in the place of the space": chunked(colon=b":\t"),
    "TE.TE two tabs": chunked(colon=b":\t\t"),
    "TE.TE a vertical tab": chunked(value=b"\x0bchunked"),
    "TE.TE a form feed": chunked(value=b"\x0cchunked"),
    "TE.TE NEL": chunked(value=b"\x85chunked"),
    "TE.TE a no-break space": chunked(value=b"\xa0chunked"),
    "TE.TE a zero byte": chunked(value=b"\0chunked"),
    "TE.TE a zero byte behind": chunked(value=b"chunked\0"),
    "TE.TE DEL": chunked(value=b"chunked\x7f"),
    "TE.TE no space": chunked(colon=b":"),
    "TE.TE upper case": chunked(value=b"CHUNKED"),
    "TE.TE mixed case": chunked(name=b"tRANSFER-ENCODING", value=b"cHUNKED"),
    "TE.TE a space before the colon": chunked(colon=b" : "),
    "TE.TE a tab before the colon": chunked(colon=b"\t: "),
    "TE.TE a zero byte before the colon": chunked(name=b"Transfer-Encoding\0"),
    "TE.TE a carriage return before the colon": chunked(name=b"Transfer-Encoding\r"),
    "TE.TE a folded line": chunked(value=b"\r\n chunked"),
    "TE.TE a folded line with a tab": chunked(value=b"\r\n\tchunked"),
    "TE.TE behind a folded line": POST + b"X-Own: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}",
    "TE.TE a space before the name": POST + b"Content-Length: 5\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
    "TE.TE a bare LF in a value": POST + b"X-Own: a\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}",
    "TE.TE a bare CR in a value": POST + b"X-Own: a\rTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n{inner}",
    "TE.TE a bare CR as a line's end": chunked(end=b"\r"),
    "TE.TE nothing": chunked(value=b""),
    "TE.TE identity": chunked(value=b"identity"),
    "TE.TE gzip": chunked(value=b"gzip"),
    "TE.TE gzip and chunked": chunked(value=b"gzip, chunked"),
    "TE.TE chunked and gzip": chunked(value=b"chunked, gzip"),
    "TE.TE deflate alone": POST + b"Transfer-Encoding: deflate\r\n\r\n{inner}",
    "TE.TE a long one": chunked(value=b"chunked" + b" " * 7000 + b", x"),
    # Lengths
    "two lengths": length(b"Content-Length: 5", b"Content-Length: 0"),
    "two lengths, nothing first": length(b"Content-Length: 0", b"Content-Length: 5"),
    "a length twice": length(b"Content-Length: 5", b"Content-Length: 5"),
    "a list of lengths": length(b"Content-Length: 5, 5"),
    "a list of two lengths": length(b"Content-Length: 5, 0"),
    "+5": length(b"Content-Length: +5"),
    "-5": length(b"Content-Length: -5"),
    "-0": length(b"Content-Length: -0"),
    "5.0": length(b"Content-Length: 5.0"),
    "5e0": length(b"Content-Length: 5e0"),
    "0x5": length(b"Content-Length: 0x5"),
    "5_0": length(b"Content-Length: 5_0"),
    "1 2": length(b"Content-Length: 1 2"),
    "in quotes": length(b'Content-Length: "5"'),
    "no length": length(b"Content-Length:"),
    "full-width digits": length("Content-Length: ５".encode()),
    "Arabic digits": length("Content-Length: ٥".encode()),
    "superscript": length(b"Content-Length: \xb2"),
    "a length with a zero byte": length(b"Content-Length: 5\0"),
    "a zero byte before the length": length(b"Content-Length: \x005"),
    "a vertical tab before the length": length(b"Content-Length: \x0b5"),
    "a form feed behind the length": length(b"Content-Length: 5\x0c"),
    "a length that wraps around 32 bits": length(b"Content-Length: 4294967301"),
    "a length that wraps around 64 bits": length(b"Content-Length: 18446744073709551621"),
    "a length beyond all measure": length(b"Content-Length: " + b"9" * 400),
    "a space before a length's colon": length(b"Content-Length : 5"),
    "a folded length": length(b"Content-Length:", b" 5"),
    "a length behind a bare CR": length(b"X-Own: a\rContent-Length: 5"),
    # Chunks
    "a chunk's size in 0x": TE + b"0x5\r\nhello\r\n0\r\n\r\n{inner}",
    "+5 as a chunk's size": TE + b"+5\r\nhello\r\n0\r\n\r\n{inner}",
    "-5 as a chunk's size": TE + b"-5\r\nhello\r\n0\r\n\r\n{inner}",
    "5_0 as a chunk's size": TE + b"0_5\r\nhello\r\n0\r\n\r\n{inner}",
    "a space before a chunk's size": TE + b" 5\r\nhello\r\n0\r\n\r\n{inner}",
    "no chunk's size": TE + b"\r\nhello\r\n0\r\n\r\n{inner}",
    "a chunk's size that wraps around 32 bits": TE + b"100000005\r\nhello\r\n0\r\n\r\n{inner}",
    "a chunk's size that wraps around 64 bits": TE + b"10000000000000005\r\nhello\r\n0\r\n\r\n{inner}",
    "a negative chunk of 64 bits": TE + b"ffffffffffffffff\r\nhello\r\n0\r\n\r\n{inner}",
    "the largest chunk of 64 bits": TE + b"7fffffffffffffff\r\nhello\r\n0\r\n\r\n{inner}",
    "a chunk without its line's end": TE + b"5\r\nhello0\r\n\r\n{inner}",
    "a chunk with another end": TE + b"5\r\nhelloXX0\r\n\r\n{inner}",
    "a chunk that is longer than it says": TE + b"3\r\nhello\r\n0\r\n\r\n{inner}",
    "a bare CR behind a chunk's size": TE + b"5\rhello\r\n0\r\n\r\n{inner}",
    "a zero byte in a chunk's size": TE + b"5\0\r\nhello\r\n0\r\n\r\n{inner}",
    # Heads
    "a zero byte in a value": length(b"X-Own: a\0b", b"Content-Length: 5"),
    "a zero byte in a name": length(b"X\0Own: a", b"Content-Length: 5"),
    "a name with a space": length(b"X Own: a", b"Content-Length: 5"),
    "no name": length(b": a", b"Content-Length: 5"),
    "a space before the first name": b"POST /outer HTTP/1.1\r\n Host: {host}\r\nContent-Length: 5\r\n\r\nhello{inner}",
    "a bare CR behind the first line": b"POST /outer HTTP/1.1\rHost: {host}\r\nContent-Length: 5\r\n\r\nhello{inner}",
    "two requests in the first line": b"GET /outer HTTP/1.1 GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "a line break in the target": b"GET /outer\rGET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n",
    "HTTP/1.1 and more": b"GET /outer HTTP/1.1x\r\nHost: {host}\r\n\r\n{inner}",
    "HTTP/2.0": b"GET /outer HTTP/2.0\r\nHost: {host}\r\n\r\n{inner}",
    "http/1.1": b"GET /outer http/1.1\r\nHost: {host}\r\n\r\n{inner}",
    "HTTP/1.0 with chunks": b"POST /outer HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
    "CONNECT": b"CONNECT {host}:80 HTTP/1.1\r\nHost: {host}\r\n\r\n{inner}",
}  # fmt: skip

BODY = b"hello"
# What nginx takes, although a strict reader would not, or what is fine: the application sees this one request, with this body.
TAKEN = {
    "a usual one": (length(b"Content-Length: 5"), BODY),
    "leading zeros": (length(b"Content-Length: 005"), BODY),
    "spaces around the length": (length(b"Content-Length:   5  "), BODY),
    "a length in lower case": (length(b"content-length:5"), BODY),
    "a hyphen that is an underscore": (length(b"Content_Length: 500", b"Content-Length: 5"), BODY),
    "a coding with an underscore": (length(b"Transfer_Encoding: chunked", b"Content-Length: 5"), BODY),
    "a coding with another name": (length(b"X-Transfer-Encoding: chunked", b"Content-Length: 5"), BODY),
    "a coding in TE": (length(b"TE: chunked", b"Content-Length: 5"), BODY),
    "chunks": (TE + b"5\r\nhello\r\n0\r\n\r\n{inner}", BODY),
    "small chunks": (TE + b"1\r\nh\r\n1\r\ne\r\n1\r\nl\r\n1\r\nl\r\n1\r\no\r\n0\r\n\r\n{inner}", BODY),
    "a chunk's size with zeros": (TE + b"00000005\r\nhello\r\n0000\r\n\r\n{inner}", BODY),
    "a chunk extension": (TE + b"5;name=value\r\nhello\r\n0;last\r\n\r\n{inner}", BODY),
    "a chunk extension in quotes": (TE + b'5;a="\x0b;"\r\nhello\r\n0\r\n\r\n{inner}', BODY),
    "a space behind a chunk's size": (TE + b"5 \r\nhello\r\n0\r\n\r\n{inner}", BODY),
    "a trailer": (TE + b"5\r\nhello\r\n0\r\nContent-Length: 50\r\nX-Trailer: 1\r\n\r\n{inner}", BODY),
    "a trailer that says where the body ends": (TE + b"5\r\nhello\r\n0\r\nTransfer-Encoding: identity\r\n\r\n{inner}", BODY),
    "bare LF everywhere": (
        b"POST /outer HTTP/1.1\nHost: {host}\nConnection: close\nContent-Length: 5\n\nhello{inner}", BODY,
    ),
    "HTTP/1.10": (length(b"Content-Length: 5").replace(b"HTTP/1.1\r", b"HTTP/1.10\r"), BODY),
    "bare LF behind a chunk extension": (TE + b"5;a\nhello\r\n0\r\n\r\n{inner}", BODY),
    "bare LF in chunks": (TE + b"5\nhello\n0\n\n{inner}", BODY),
    "an empty line before": (b"\r\n\r\n" + length(b"Content-Length: 5"), BODY),
    "a header without a colon": (length(b"Content-Length", b"Content-Length: 5"), BODY),
    "GET with a body": (length(b"Content-Length: 5").replace(b"POST", b"GET"), BODY),
    "HEAD with a body": (length(b"Content-Length: 5").replace(b"POST", b"HEAD"), BODY),
    "a body that is expected": (length(b"Expect: 100-continue", b"Content-Length: 5"), BODY),
    "a body that is a request": (POST + b"Content-Length: 62\r\n\r\n" + INNER, None),
    "a chunk that is a request": (TE + b"3e\r\n" + INNER + b"\r\n0\r\n\r\n", None),
    "no body": (POST + b"\r\n{inner}", b""),
}  # fmt: skip
