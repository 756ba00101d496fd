"""What `import bakeoff` offers to programs and notebooks: the same parts that the command line puts together."""
