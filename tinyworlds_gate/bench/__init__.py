"""What `bench train` and `bench rollout` measure, each beside a plain yardstick of the same mathematics."""
