"""Entry point of the command `hgn-jax`, which needs the extra `cli`."""


def main() -> None:
    try:
        from .cli import app
    except ModuleNotFoundError as error:
        raise SystemExit(f'{error}. The command needs: pip install "hgn-jax[cli]"') from None
    app()


if __name__ == "__main__":
    main()
