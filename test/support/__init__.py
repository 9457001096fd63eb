"""What the tests and the bench share: real registries, real images, a line that can be bad, a throw-away minion."""
