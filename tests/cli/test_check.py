import hashlib


def test_prints_shape_and_digest_of_the_codes(run, photo):
    run("compress", "photo.png")
    digest = hashlib.sha256(bytes([200, 200, 100, 100, 50, 50])).hexdigest()[:16]
    assert run("check", "photo.pqm") == (0, f"photo.pqm: good, 3x1x2 codes, digest {digest}\n".encode(), "")


def test_damage(run, photo):
    run("compress", "photo.png")
    data = bytearray((photo.parent / "photo.pqm").read_bytes())
    data[-4] ^= 16
    (photo.parent / "damaged.pqm").write_bytes(data)
    status, out, err = run("check", "damaged.pqm", "photo.pqm")
    assert status == 1
    assert err == "pqmim: damaged.pqm: the file is damaged: its bytes do not match its check.\n"
    assert out.startswith(b"photo.pqm: good, ")


def test_a_cut_file_is_not_good(run, photo):
    run("compress", "photo.png")
    data = (photo.parent / "photo.pqm").read_bytes()
    status, out, err = run("check", "-", stdin=data[:-1])
    assert (status, out) == (1, b"")
    assert err == "pqmim: standard input: the file was cut short, so it carries no check to verify.\n"
