"""Where programs run. ``base`` says what an executor is; its peers are the ways there are."""
