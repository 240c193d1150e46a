/* Named by bcc's packet headers; nothing of it is used. */
