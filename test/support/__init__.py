"""What tests and bench share: real registries and images, bad lines, a throw-away minion."""
