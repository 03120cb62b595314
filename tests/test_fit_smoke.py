def test_fit(fitted):
    assert fitted.residual < 1e-5
