/* Named by bcc's preamble; nothing of it is used. */
