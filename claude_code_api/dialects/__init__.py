"""Wire formats, one package each: a request becomes a `Conversation`, its events become bytes. Pure: no I/O."""
