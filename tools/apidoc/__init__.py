"""docs/api.md from the comments of the contract: `contract` reads the protos, `page` writes Markdown."""
