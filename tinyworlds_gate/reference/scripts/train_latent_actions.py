"""Train the stage `latent_actions`.

torchrun --standalone --nproc_per_node=2 tinyworlds_gate/reference/scripts/train_latent_actions.py \\
    --config configs/latent_actions.yaml --training_config configs/training.yaml key=value ...
"""

from tinyworlds_gate.reference.training.stage_main import main

if __name__ == "__main__":
    main("latent_actions")
