import click
@click.command()
def predict() -> None:
    ""

@click.command()
def evaluate()->None:
    ''
