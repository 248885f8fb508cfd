import pytest
import torch


def vectors_of(vq, photo):
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        return vq.vectors(image).flatten(0, 2)  # (54, 12)


@pytest.fixture
def codebook(vq):
    """One model for all tests here, with its codebook and usage put back afterwards."""
    before = vq.codebook.clone(), vq.usage.clone()
    yield vq
    vq.codebook.copy_(before[0])
    vq.usage.copy_(before[1])


def test_codes_are_the_nearest_codewords(vq):
    vectors = 50 * torch.randn(3000, 12, generator=torch.Generator().manual_seed(0))
    assert torch.equal(vq.assign(vectors), torch.cdist(vectors, vq.codebook).argmin(1))


def test_the_codebook_fits_its_samples(vq, photo):
    vectors = vectors_of(vq, photo)
    error = (vectors - vq.codebook[vq.assign(vectors)]).square().sum()
    assert error < 0.2 * (vectors - vectors.mean(0)).square().sum()
    assert vq.usage.min() >= 1


def test_error_and_commitment_are_in_pixel_units(vq, photo):
    image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        error, commitment, vectors, codes = vq(image)
    assert error.shape == commitment.shape == (1,) and vectors.shape == (54, 12) and codes.shape == (54,)
    # untrained, the transforms are orthonormal: all error is that of the codebook, and of the dimensions left out
    lost = (vectors - vq.codebook[codes]).square().sum() / photo.size
    assert commitment.item() == pytest.approx(lost.item(), rel=1e-4)
    assert commitment < error


def test_codewords_move_to_the_running_mean_of_their_vectors(codebook):
    before, usage = codebook.codebook.clone(), codebook.usage.clone()
    vectors = torch.stack([before[3] + 1, before[3] + 3, before[7]])
    codebook.observe(vectors, torch.tensor([3, 3, 7]), decay=0.5)
    assert torch.allclose(codebook.codebook[3], before[3] + 4 / (0.5 * usage[3] + 2), atol=1e-3)
    others = torch.arange(32) != 3
    assert torch.allclose(codebook.codebook[others], before[others], atol=1e-3)
    assert codebook.usage[3] == 0.5 * usage[3] + 2 and codebook.usage[0] == 0.5 * usage[0]


def test_unused_codewords_are_revived(codebook):
    torch.manual_seed(0)
    codebook.usage[:5] = 0.1
    vectors = torch.randn(40, 12)
    assert codebook.revive(vectors) == 5
    assert (torch.cdist(codebook.codebook[:5], vectors).min(1).values < 1e-3).all()
    assert codebook.usage.min() >= 1 and codebook.revive(vectors) == 0


def test_gradients_pass_straight_through_to_the_analysis(vq, photo):
    vq.train().requires_grad_(True)
    try:
        image = torch.from_numpy(photo).permute(2, 0, 1)[None].float()
        error, commitment, _, _ = vq(image)
        (error + 0.25 * commitment).sum().backward()
        for parameter in (vq.analysis.stem, vq.analysis.merge, vq.project, vq.restore, vq.synthesis.head):
            assert parameter.grad.any()
    finally:
        vq.zero_grad(set_to_none=True)
        vq.eval().requires_grad_(False)
