"""Entry point of the command `hgn-jax`, which needs the extra `cli`."""


def main() -> None:
    try:
        from .cli import app
        from .cli.program_cache import keep_programs
    except ModuleNotFoundError as error:
        raise SystemExit(f'{error}. The command needs: pip install "hgn-jax[cli]"') from None
    keep_programs()
    app()


if __name__ == "__main__":
    main()
