"""What the black-box tests share: namespaces, a plugin runner, kernel snapshots, traffic."""
