"""``xpnet bench`` hands over to the package ``xpnet_bench``, which is imported only then."""

import click


@click.command(
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    short_help="Measure the backends and their peers on this machine.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def bench(ctx: click.Context, arguments: tuple[str, ...]) -> None:
    """Measure the backends and their peers on this machine."""
    try:
        from xpnet_bench.cli import bench as measure
    except ImportError as error:
        raise click.ClickException(
            f"The benchmarks need more packages: {error}. pip install 'xpnet[bench]'."
        ) from error
    measure.main(
        list(arguments), prog_name=f"{ctx.parent.info_name if ctx.parent else 'xpnet'} bench", standalone_mode=False
    )
