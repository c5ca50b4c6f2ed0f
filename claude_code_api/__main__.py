"""`python -m claude_code_api` is `claude-code-api`."""

from claude_code_api.cli import main

if __name__ == "__main__":
    main()
