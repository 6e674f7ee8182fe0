"""Random transformers models of the three architectures, for parity tests and for the golden files; needs PyTorch."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, OPTConfig, OPTForCausalLM

NO_TOKEN = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}


def opt(vocabulary: int, width: int, layers: int, heads: int, positions: int, **more):
    sizes = {"hidden_size": width, "word_embed_proj_dim": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return OPTForCausalLM(
        OPTConfig(vocab_size=vocabulary, **sizes, ffn_dim=4 * width, max_position_embeddings=positions, **{**NO_TOKEN, **more})
    )


def gpt2(vocabulary: int, width: int, layers: int, heads: int, positions: int, **more):
    sizes = {"n_embd": width, "n_layer": layers, "n_head": heads, "n_positions": positions}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocabulary, **sizes, **{**NO_TOKEN, **more}))


def llama(vocabulary: int, width: int, layers: int, heads: int, positions: int, **more):
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads, "intermediate_size": 3 * width}
    sizes |= {"num_key_value_heads": max(1, heads // 2), "max_position_embeddings": positions}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes, **{**NO_TOKEN, **more}))


MAKERS = {"opt": opt, "gpt2": gpt2, "llama": llama}


def random_model(name: str, seed: int = 0, scale: float = 25.0, **sizes):
    """A model with random weights, those of layers larger by `scale`: else it would do nothing but repeat the last token."""
    torch.manual_seed(seed)
    sizes = {"vocabulary": 67, "width": 32, "layers": 2, "heads": 4, "positions": 48, **sizes}
    model = MAKERS[name](**sizes).eval()
    with torch.no_grad():
        for place, parameter in model.named_parameters():
            layer = ".layers." in place or ".h." in place
            matrix = parameter * (scale if layer else 10.0)
            parameter.copy_(matrix if parameter.dim() > 1 else parameter + 0.1 * torch.randn_like(parameter))
    return model
