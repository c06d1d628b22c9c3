"""What tests share: virtual time and scripted platforms. Nothing here is shipped."""
