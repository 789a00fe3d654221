"""A zygote: one single-threaded process for each environment, which has its modules imported and forks the workers."""
