"""How it is measured: contenders in processes of their own, one of them working at a time, round by round."""
