/* bcc sizes a ring in pages; ours is a multiple of every page size in use. */
#define PAGE_SIZE 4096
