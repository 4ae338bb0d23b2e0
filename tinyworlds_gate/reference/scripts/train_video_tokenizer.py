"""Train the stage `video_tokenizer`.

torchrun --standalone --nproc_per_node=2 tinyworlds_gate/reference/scripts/train_video_tokenizer.py \\
    --config configs/video_tokenizer.yaml --training_config configs/training.yaml key=value ...
"""

from tinyworlds_gate.reference.training.stage_main import main

if __name__ == "__main__":
    main("video_tokenizer")
