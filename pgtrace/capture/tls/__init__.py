"""TLS in packets, decrypted if the session's secrets are known.

hello.py       ClientHello and ServerHello: version, cipher suite, ALPN
keylog.py      the secrets, from a key log file or a pcapng
ciphers.py     secrets -> keys -> plain records
decrypting.py  a connection's two directions: encrypted bytes in, plain bytes out
"""
