"""The embedded platform: it speaks the Xanadu Cloud protocol over HTTP and really runs the programs it is sent."""
