"""What is said to mistakes: one line that names the thing, its fault and the remedy; nothing is left behind."""

import functools
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from clicks import click_track, save_wave
from conftest import fill, scene
from parsers import build_parsers_once, error_of, parts_of
from readme import ROOT, SHIPPED

import render
import train
from vae import checkpoint
from vae.render import models
from vae.render.cli import main as rendering

# what is typed; what the answer must name; what its remedy must name
RENDER = [
    # commands
    ("slrep", "slrep", "slerp"),
    ("Slerp", "Slerp", "slerp"),
    ("fly", "fly", "explore"),
    ("render slerp", "render", "slerp"),
    ("--fps 20 slerp", "--fps", "slerp"),
    ("-v", "-v", "render.py --help"),
    # options
    ("slerp --sed 3", "--sed", "--seed"),
    ("slerp -seed 3", "-seed", "--seed"),
    ("slerp --keyframe a.png b.png", "--keyframe", "--keyframes"),
    ("compare --check a.ckpt", "--check", "--checkpoint"),
    ("slerp --max 2MB", "--max", "--max-size"),
    ("slerp --f 3", "--f", "slerp --help"),
    ("export --enc", "--enc", "--encoder"),
    ("--vers", "--vers", "--version"),
    ("slerp --max-sise 2MB", "--max-sise", "--max-size"),
    ("slerp --out-file a.gif", "--out-file", "--out"),
    ("slerp --path spline", "loop", "slerp --help"),
    ("strip --fps 3", "--fps", "strip --help"),
    ("compare --grid 2x2", "--grid", "compare --help"),
    ("slerp --config run.yaml", "--config", "slerp --help"),
    ("samples cat.png dog.png", "cat.png", "samples --help"),
    ("patterns.ckpt", "patterns.ckpt", "--checkpoint patterns.ckpt"),
    ("slerp cat dog", "cat", "--keyframes cat dog"),
    ("absent.png cat.png", "absent.png", "name another"),
    ("absent/", "absent", "name one"),
    ("cat.png dog.png --keyframes cat.png", "cat.png: stands beside --keyframes", "one place"),
    ("'' cat.png", "''", "explore"),
    ("cat.png", "1 keyframe:", "two ends"),
    ("slerp --help zoom", "--help zoom", "slerp --help"),
    ("slerp --class cat", "--class cat", "--data.labels folders"),
    ("samples --class cat dog", "--class cat", "--data.labels folders"),
    ("growth --class cat", "--class", "growth --help"),
    ("slerp ''", "''", "--keyframes"),
    ("slerp seed=3", "seed=3", "--seed 3"),
    ("slerp --output a.gif", "--output", "--out"),
    ("slerp --model patterns.ckpt", "--model", "--checkpoint"),
    ("compare patterns.ckpt", "patterns.ckpt", "--checkpoint patterns.ckpt"),
    ("compare gan.onnx", "gan.onnx", "--generator gan.onnx"),
    ("export yes", "yes", "export --help"),
    ("export --encoder=true", "--encoder", "export --help"),
    ("samples cat.png", "cat.png", "samples --help"),
    ("slerp --max-size 2 cats", "cats", "quotes"),
    ("slerp --fps", "--fps", "number"),
    ("slerp --keyframes", "--keyframes", "word"),
    ("slerp --out", "--out", "word"),
    ("loop --style", "--style", "circle"),
    # values of the wrong kind
    ("slerp --fps fast", "--fps fast", "number"),
    ("slerp --seed three", "--seed three", "whole number"),
    ("slerp --seed=", "--seed", "whole number"),
    ("slerp --size huge", "--size huge", "whole number"),
    ("slerp --frames 2.5", "--frames 2.5", "whole number"),
    ("slerp --truncation lots", "--truncation lots", "number"),
    ("lines --pairs many", "--pairs many", "whole number"),
    ("slerp --resample linaer", "--resample linaer", "lanczos"),
    ("slerp --resample lanzcos", "--resample lanzcos", "lanczos"),
    ("slerp --aspect 16x9", "aspect '16x9'", "16:9"),
    ("slerp --aspect 1:0", "aspect '1:0'", "16:9"),
    ("strip --aspect 100:1", "aspect '100:1'", "10:1"),
    ("slerp --aspect 16:9 --border blured", "--border blured", "blurred"),
    ("slerp --aspect 9:16 --frames 3000 --size 512 --pace latent --out a.webp", "GB", ".mp4"),
    ("samples --grid 6x1 --aspect 1:10 --size 2048", "GB", "--size"),
    ("slerp --fit padd", "--fit padd", "pad"),
    ("explore --fit whole", "--fit whole", "stretch"),
    ("slerp --pace picture", "--pace picture", "image"),
    ("slerp --pace imgae", "--pace imgae", "image"),
    ("slerp --quality drafty", "--quality drafty", "draft"),
    ("slerp --precision float16", "--precision float16", "bfloat16"),
    ("loop --path spiral", "--path spiral", "spline"),
    ("loop --path slrep", "--path slrep", "slerp"),
    ("loop --style circel", "--style circel", "circle"),
    ("slerp --easing ease-inn", "ease-inn", "ease-in"),
    ("slerp --easing bouncy", "bouncy", "cubic-in-out"),
    ("slerp --easing 'cubic-bezier(1,2,3)'", "cubic-bezier(1,2,3)", "cubic-bezier(a,b,c,d)"),
    ("slerp --easing 'cubic-bezier(0,2,0,1)'", "cubic-bezier(0,2,0,1)", "[0, 1]"),
    ("compare --paths linaer slerp", "linaer", "linear"),
    ("strip --paths zigzag", "zigzag", "spline"),
    ("strip --paths slerp,linear", "slerp,linear", "spline"),
    ("slerp --max-size 2cats", "2cats", "2MB"),
    ("slerp --grid 4by3", "4by3", "4x3"),
    ("slerp --grid=", "grid", "4x3"),
    ("slerp --grid 3", "grid", "4x3"),
    (f"slerp --grid {'9' * 5000}x1", "grid", "4x3"),
    ("samples --grid 100x100", "100x100", "64"),
    # values out of range
    ("slerp --fps 0", "fps 0", "0.01"),
    ("slerp --fps 60", "fps 60", "50"),
    ("slerp --frames -5", "frames -5", "1"),
    ("slerp --frames 1", "frames 1", "2"),
    ("slerp --frames 1000000", "frames 1000000", "100000"),
    ("slerp --frames 90000 --size 512 --pace latent --out a.webp", "GB", ".mp4"),
    ("slerp --frames 9000 --size 512 --pace latent --max-size 1MB", "GB", ".mp4"),
    ("samples --grid 8x8 --size 4096", "GB", "--size"),
    ("slerp --hold -1", "hold -1", "0"),
    ("slerp --durations 1 --frames 20", "--durations: contradicts --frames", "one of them"),
    ("slerp --durations 1 2", "2 given, and the path has 1 segment between", "each"),
    ("loop --durations 1 2", "has 4 segments", "each"),
    ("loop --style circle --durations 1 2", "has 4 segments", "each"),
    ("loop --style noise --count 6 --durations 1 2", "has 6 segments", "each"),
    ("spline --grid 2x2 --count 3 --durations 1", "has 2 segments", "each"),
    ("compare --durations 1 2 3", "has 1 segment between", "each"),
    ("slerp --durations 3600 --fps 1000 --out a.mp4", "3,600,000 frames", "lower --fps"),
    ("slerp --audio tiny.wav --fps 1000 --out a.mp4", "tiny.wav: is too short", "longer"),
    ("slerp --border plain", "--border plain", "--aspect"),
    ("slerp --durations fast", "durations 'fast'", "seconds"),
    ("slerp --durations 0", "durations '0'", "more than 0"),
    ("slerp --durations 1e9", "durations '1e9'", "3600"),
    ("slerp --durations nan", "durations 'nan'", "seconds"),
    ("slerp --durations", "--durations", "word"),
    ("slerp --size 3", "size 3", "16"),
    ("slerp --size 1000000", "size 1000000", "4096"),
    ("strip --steps 64 --size 257 --out wide.webp", "wide.webp", ".png"),
    ("slerp --truncation nan", "truncation nan", "number"),
    ("slerp --keyframes 1 2 --truncation -1", "truncation -1", "10"),
    ("slerp --seed 99999999999999999999", "seed 99999999999999999999", "64 bits"),
    ("lines --seed 99999999999999999999", "seed 99999999999999999999", "64 bits"),
    ("slerp --keyframes 99999999999999999999 3", "seed 99999999999999999999", "64 bits"),
    ("slerp --max-size 10 --frames 2 --size 16", "max_size", "--frames"),
    ("strip --steps 1", "steps 1", "2"),
    ("traverse --rows 0", "rows 0", "1"),
    ("explore --sets 0", "sets 0", "1"),
    ("lines --pairs 0", "pairs 0", "1"),
    ("lines --pairs 1000000000000000", "memory", "smaller"),
    # keyframes
    ("slerp --keyframes 1", "1 keyframe:", "two"),
    ("slerp --count 1", "1 keyframe:", "two"),
    ("slerp --count -3", "count -3", "1"),
    ("loop --count 2", "2 keyframes", "back"),
    ("loop --style circle --count 3", "3 keyframes", "two"),
    ("loop --style noise --count 5", "5 latents", "--count"),
    ("slerp --keyframes 1", "1 keyframe: give 2 or more with --keyframes", "two ends"),
    ("slerp --keyframes cat.png 1 --frames 1", "frames 1", "2"),
    ("-dash.png cat.png", "-dash.png: is taken for an option", "./-dash.png"),
    ("traverse --keyframes 1 2", "2 keyframes: give 1 with", "one"),
    ("explore --keyframes 1 2 3", "3 keyframes", "four"),
    ("analogy --keyframes 1 2", "2 keyframes: give 3 with", "three"),
    ("analogy --count 4", "4 keyframes", "three"),
    ("traverse --directions jacobean", "--directions jacobean", "jacobian"),
    ("direction --keyframes 1", "--from", "folder of 4"),
    ("direction --from many", "--to", "folder of 4"),
    ("direction --from many --to text.txt", "text.txt", "4 pictures"),
    ("direction --from many --to none", "none", "4 pictures"),
    ("direction --from many --to folder", "folder", "PNG"),
    ("direction --from few --to many", "few", "4 or more"),
    ("direction --from many --to ./many", "shares 4 pictures", "another folder"),
    ("direction --from many folder --to few", "2 folders", "one"),
    ("direction --from many --to others --strength 1", "strength 1", "-1 1"),
    ("direction --from many --to others --strength 1 1", "strength 1 1", "-1 1"),
    ("direction --from many --to others --strength 0 far", "strength 0 far", "-1 1"),
    ("direction --from many --to others --strength 0 11", "strength 0 11", "10"),
    ("direction --from many --to others --keyframes none.png", "none.png", "another"),
    ("direction --from many --to others --out a.mpg", ".mpg", ".mp4"),
    ("slerp --from many", "--from", "slerp --help"),
    ("slerp --keyframes '' 2", "empty", "picture"),
    ("slerp --keyframes 1 none.png", "none.png", "another"),
    ("slerp --keyframes 1 cta.png", "cta.png", "cat.png"),
    ("slerp --keyframes 1 text.png", "text.png", "another"),
    ("slerp --keyframes 1 empty.png", "empty.png", "another"),
    ("slerp --keyframes 1 folder", "a folder is no keyframe", "tour --pictures folder"),
    ("slerp --keyframes 1 none.npz:3", "none.npz", "--save-latents"),
    ("slerp --keyframes 1 text.npz", "text.npz", "--save-latents"),
    ("slerp --keyframes 1 walk.npz:9", "walk.npz:9", "0 to 1"),
    ("slerp --keyframes 1 short.npz", "8 numbers", "its own"),
    (f"slerp --keyframes {'9' * 5000} 2", "File name too long", "another"),
    ("slerp --keyframes ~nobody-of-this-name/a.png 2", "no such user", "./~nobody"),
    ("slerp --keyframes 3 4 --count 2", "--count", "--keyframes"),
    ("slerp --keyframes 3 4 --seed 2", "--seed", "--keyframes"),
    ("slerp --grid 2x2 --keyframes 1 2", "--grid", "--keyframes"),
    # sounds
    ("slerp --audio none.ogg", "none.ogg", "name a sound"),
    ("slerp --audio clikcs.wav", "clikcs.wav", "clicks.wav"),
    ("slerp --audio folder", "no plain file", "name a file"),
    ("slerp --audio text.txt", "text.txt", "another"),
    ("slerp --audio cat.png", "cat.png: has no sound", "name a file"),
    ("slerp --audio playlist.m3u8", "playlist.m3u8", "another"),
    ("slerp --audio silence.wav", "is silent", "--audio"),
    ("slerp --audio nothing.wav", "is silent", "--audio"),
    ("slerp --audio clicks.wav --fps 0.1", "too short", "longer"),
    ("slerp --keyframes cat.png 1 2 3 4 5 6 --audio clicks.wav --fps 3", "too few to show 7 keyframes", "longer"),
    ("slerp --audio clicks.wav --frames 9", "--frames", "--audio"),
    ("slerp --audio clicks.wav --hold 9", "--hold", "--audio"),
    ("loop --audio clicks.wav --easing ease", "--easing", "--audio"),
    ("slerp --audio clicks.wav --max-size 1MB --out a.mp4", "--max-size", "--size"),
    ("slerp --music clicks.wav", "--music", "--audio"),
    # tours
    ("tour", "tour", "--pictures"),
    ("tour --pictures none", "none", "name one"),
    ("tour --pictures cat.png", "cat.png", "name one"),
    ("tour --pictures folder", "folder", "PNG"),
    ("tour --pictures folder --minutes 0", "minutes 0", "0.01"),
    ("tour --pictures folder --minutes 1 --frames 9", "--minutes", "one of them"),
    ("tour --pictures folder --minutes 1 --audio clicks.wav", "--minutes", "one of them"),
    # checkpoints
    ("slerp --checkpoint none.ckpt", "none.ckpt", "train.py"),
    ("slerp --checkpoint patern.ckpt", "patern.ckpt", "patterns.ckpt"),
    ("slerp --checkpoint folder", "folder", "file"),
    ("slerp --checkpoint ''", "''", "name"),
    ("compare --generator ''", "''", "name"),
    ("slerp --checkpoint cat.png", "cat.png", ".ckpt"),
    ("slerp --checkpoint ~nobody-of-this-name/a.ckpt", "no such user", "./~nobody"),
    (f"slerp --checkpoint {'a' * 300}", "File name too long", "another"),
    ("compare --checkpoint patterns.ckpt cat.png", "cat.png", ".ckpt"),
    ("compare --checkpoint a.ckpt ./a.ckpt", "checkpoint", "once"),
    ("lines --checkpoint patterns.ckpt", "64×64×3", "--data.source lines"),
    # results
    ("slerp --out a.mpg", ".mpg", ".mp4"),
    ("slerp --out .", ".", "renders/"),
    ("slerp --out ''", "''", "name"),
    ("strip --out ''", "''", "name"),
    ("explore --out ''", "''", "name"),
    ("export --out ''", "''", "name"),
    ("export --out decoder.pt", "decoder.pt", ".onnx"),
    ("slerp --out https://host/a.gif", "https://host/a.gif", "file"),
    ("slerp --keyframes 1 https://host/cat.png", "https://host/cat.png", "file"),
    ("slerp --out .gif", ".gif", "renders/"),
    ("slerp --out folder", "folder", "empty folder"),
    ("slerp --out text.txt/a.gif", "text.txt is a file", "another place"),
    ("slerp --out text.txt/frames", "text.txt is a file", "another place"),
    ("slerp --out /dev/null", "/dev/null", "folder"),
    (f"slerp --out {'a' * 300}", "File name too long", "another"),
    ("slerp --max-size 1MB --out frames", "--max-size", "suffix"),
    ("slerp --quality draft --max-size 1MB", "--quality draft", "--max-size"),
    ("slerp --quality draft --out frames", "--quality draft", "--out"),
    ("slerp --save-latents walk.txt", "walk.txt", "walk.npz"),
    ("slerp --report r.txt", "r.txt", "report.json"),
    ("strip --out strip.mp4", "strip.mp4", ".png"),
    ("strip --path slerp", "loop", "strip --help"),
    ("strip --paths slerp slerp", "slerp", "once"),
    ("explore --out page.gif", "page.gif", "explore.html"),
    # the film of a training
    ("growth", "logs", "--run"),
    ("growth --run foldr", "foldr", "folder"),
    ("growth --run folder", "folder", "logs/"),
    ("growth --run cat.png", "cat.png", "logs/"),
    ("growth --paths slrep", "slrep", "slerp"),
    ("growth --seconds 0", "seconds 0", "1"),
    ("growth --run folder --out a.mpg", ".mpg", ".mp4"),
    ("growth --checkpoint a.ckpt", "--checkpoint", "growth --help"),
]
TRAIN = [
    # commands
    ("fti", "fti", "fit"),
    ("slerp", "slerp", "validate"),
    ("predict", "predict", "validate"),
    ("validate", "validate", "--ckpt_path"),
    ("test", "test", "--ckpt_path"),
    # options
    ("--data.sorce x", "--data.sorce", "--data.source"),
    ("fit --modle.latent_dim 4", "--modle.latent_dim", "--model.latent_dim"),
    ("fit --model.latent-dim 4", "--model.latent-dim", "--model.latent_dim"),
    ("fit --latent_dim 4", "--latent_dim", "--model.latent_dim"),
    ("fit --max_epochs 3", "--max_epochs", "--trainer.max_epochs"),
    ("--batch-size 4", "--batch-size", "--data.batch_size"),
    ("fit --watch.frmes 4", "--watch.frmes", "--watch.frames"),
    ("fit --print_confg", "--print_confg", "--print_config"),
    ("fit --optimizer Adam", "--optimizer", "fit --help"),
    ("validate -x", "-x", "validate --help"),
    ("fit run.yaml", "run.yaml", "--config run.yaml"),
    ("fit tiny", "tiny", "--config tiny"),
    ("fit last.ckpt", "last.ckpt", "--ckpt_path last.ckpt"),
    ("fit pictures", "pictures", "--data.source pictures"),
    ("fit batch_size=8", "batch_size=8", "--data.batch_size 8"),
    ("fit --trainer.max 3", "--trainer.max", "--trainer.max_"),
    ("fit --trainer.max_epoch 3", "--trainer.max_epoch", "--trainer.max_epochs"),
    ("fit --trainer.max_epoch=3", "--trainer.max_epoch", "--trainer.max_epochs"),
    ("--data.sourc patterns", "--data.sourc", "--data.source"),
    ("validate --ckpt last", "--ckpt", "--ckpt_path"),
    ("fit --conf tiny", "--conf", "--config"),
    ("fit --print", "--print", "--print_config"),
    ("fit --t 3", "--t", "fit --help"),
    ("fit --epochs 3", "--epochs", "--trainer.max_epochs"),
    ("fit --gpus 2", "--gpus", "--trainer.devices"),
    ("fit --resume", "--resume", "--ckpt_path last"),
    ("--dataset pictures", "--dataset", "--data.source"),
    ("fit --checkpoint last.ckpt", "--checkpoint", "--ckpt_path"),
    ("fit --model.likelihood", "--model.likelihood", "gaussian"),
    ("fit --ckpt_path", "--ckpt_path", "word"),
    ("fit --model.critic 0.1", "--model.critic", "--model.adversarial_weight"),
    ("fit --model.cycle=5", "--model.cycle", "--model.cycle_weight"),
    ("fit --model.moments 1", "--model.moments", "--model.moment_weight"),
    ("fit --model.prune 1", "--model.prune", "--model.inactive_below"),
    ("fit --model.anchor_share 0", "--model.anchor_share", "--model.pca_share"),
    ("fit --model.image_size 64", "data.image_size", "fit --help"),
    ("fit --data patterns", "--data patterns", "fit --help"),
    ("fit --trainer 5", "--trainer 5", "fit --help"),
    # values of the wrong kind
    ("fit --data.batch_size lots", "--data.batch_size lots", "whole number"),
    ("fit --data.image_size=64=3", "--data.image_size 64=3", "whole number"),
    ("fit --model.lr fast", "--model.lr fast", "number"),
    ("fit --model.compile maybe", "--model.compile maybe", "true"),
    ("fit --model.likelihood gausian", "--model.likelihood gausian", "gaussian"),
    ("fit --model.likelihood cauchy", "--model.likelihood cauchy", "laplace"),
    ("fit --model.on_nonfinite skpi", "--model.on_nonfinite skpi", "skip"),
    ("fit --minutes soon", "--minutes soon", "number"),
    ("fit --time 5", "--time", "--minutes"),
    ("fit --trainer.max_epochs ten", "--trainer.max_epochs ten", "whole number"),
    ("fit --trainer.precision 8", "--trainer.precision 8", "bf16-mixed"),
    ("fit --trainer.precision bf16-mixd", "--trainer.precision bf16-mixd", "bf16-mixed"),
    ("fit --trainer.callbacks Nothing", "--trainer.callbacks Nothing", "Callback"),
    ("fit --seed_everything x", "--seed_everything x", "whole number"),
    # values out of range
    ("fit --data.image_size 50", "image_size 50", "multiple of 16"),
    ("fit --data.channels 4", "channels 4", "RGB"),
    ("fit --data.batch_size 0", "batch_size 0", "1"),
    ("fit --data.workers -1", "workers -1", "0"),
    ("fit --data.limit 1", "limit 1", "2"),
    ("fit --data.val_fraction 2", "val_fraction 2", "1"),
    ("fit --data.background whit", "whit", "#rrggbb"),
    ("fit --data.white 0", "white 0", "null"),
    ("fit --data.white bright", "--data.white bright", "number"),
    ("fit --data.all_frames maybe", "--data.all_frames maybe", "true"),
    ("fit --data.fit padd", "--data.fit padd", "pad"),
    ("fit --data.labels folder", "--data.labels folder", "folders"),
    ("fit --data.labels folders", "patterns has no subfolders", "name a folder"),
    ("fit --data.source many --data.labels folders", "many has no subfolders", "leave --data.labels out"),
    ("fit --data.source one_class --data.labels folders", "one subfolder, cat", "give each class one"),
    ("fit --data.source classes --data.labels folders --model.prior normal", "--model.prior normal", "leave one"),
    ("fit --data.source classes --data.labels folders --model.decoder_share 0", "--model.decoder_share 0", "leave one"),
    ("fit --data.source manny --data.labels folders", "manny", "did you mean"),
    ("fit --data.seed 12345678901234567890123", "12345678901234567890123", "64 bits"),
    ("fit --model.latent_dim 0", "latent_dim 0", "1"),
    ("fit --model.width 20", "width 20", "multiple of 8"),
    ("fit --model.beta -1", "beta -1", "0"),
    ("fit --model.lr -1", "lr -1", "0"),
    ("fit --model.lr 0", "lr 0", "more than 0"),
    ("fit --model.ema_decay 2", "ema_decay 2", "1"),
    ("fit --model.sigma 0", "sigma 0", "null"),
    ("fit --watch.every_n_epochs -1", "watch.every_n_epochs -1", "0"),
    ("fit --watch.frames 1", "watch.frames 1", "3"),
    ("fit --health.pairs 0", "health.pairs 0", "1"),
    ("fit --realism.every_n_epochs -1", "realism.every_n_epochs -1", "0"),
    ("fit --checkpoint_every_n_steps 0", "--checkpoint_every_n_steps 0", "1"),
    ("fit --checkpoint_metric val/elo", "val/elo", "val/elbo"),
    ("fit --checkpoint_metric beauty", "beauty", "smoothness/"),
    ("fit --seed_everything -1", "--seed_everything -1", "0"),
    # the trainer's
    ("fit --trainer.max_epochs -5", "--trainer.max_epochs -5", "leave it out"),
    ("fit --minutes null", "--minutes null", "--trainer.max_epochs"),
    ("fit --minutes null --trainer.max_epochs -1", "--minutes null", "--trainer.max_epochs"),
    ("fit --minutes 5 --trainer.max_epochs 3", "--minutes: contradicts --trainer.max_epochs", "one of them"),
    ("fit --minutes 5 --trainer.max_steps 30", "--minutes: contradicts --trainer.max_steps", "one of them"),
    ("fit --minutes 0", "--minutes 0", "more than 0"),
    ("fit --minutes -2", "--minutes -2", "more than 0"),
    ("fit --minutes nan", "--minutes nan", "number"),
    ("fit --trainer.max_epochs 0", "--trainer.max_epochs 0", "leave it out"),
    ("fit --trainer.limit_train_batches 0", "--trainer.limit_train_batches 0", "leave it out"),
    ("fit --trainer.max_time 00:00:01:00", "--trainer.max_time", "SIGTERM"),
    ("fit --trainer.accelerator gpus", "--trainer.accelerator gpus", "leave it out"),
    ("fit --trainer.devices 0", "--trainer.devices 0", "leave it out"),
    ("fit --trainer.devices two --trainer.accelerator cpu", "--trainer.devices two", "leave it out"),
    ("fit --trainer.num_nodes 0", "--trainer.num_nodes 0", "leave it out"),
    ("fit --trainer.strategy dpp", "--trainer.strategy dpp", "ddp"),
    ("fit --trainer.precision 64-true", "--trainer.precision 64-true", "32-true"),
    ("fit --trainer.precision bf16-true", "--trainer.precision bf16-true", "bf16-mixed"),
    ("fit --trainer.val_check_interval -1", "--trainer.val_check_interval -1", "leave it out"),
    ("fit --trainer.check_val_every_n_epoch 0", "--trainer.check_val_every_n_epoch 0", "1"),
    ("fit --trainer.accumulate_grad_batches 0", "--trainer.accumulate_grad_batches 0", "1"),
    ("fit --trainer.gradient_clip_val -1", "--trainer.gradient_clip_val -1", "0"),
    ("fit --trainer.log_every_n_steps -1", "--trainer.log_every_n_steps -1", "0"),
    ("fit --trainer.barebones true", "--trainer.barebones", "leave it out"),
    ("fit --print_config=foo", "--print_config", "fit --help"),
    ("fit --trainer.profiler fast", "--trainer.profiler fast", "leave it out"),
    ("fit --trainer.default_root_dir text.txt", "text.txt", "another place"),
    # sources
    ("fit --data.source CIFAR-10", "CIFAR-10", "CIFAR10"),
    ("fit --data.source cifar10", "cifar10", "CIFAR10"),
    ("fit --data.source mnsit", "mnsit", "MNIST"),
    ("fit --data.source paterns", "paterns", "patterns"),
    ("fit --data.source foldr", "foldr", "folder"),
    ("fit --data.source none", "none", "--data.source"),
    ("fit --data.source folder", "folder", "PNG"),
    ("fit --data.source cat.png", "cat.png", "--data.source"),
    ("fit --data.source ~nobody-of-this-name/pictures", "no such user", "./~nobody"),
    # configs
    ("fit --config", "--config", "word"),
    ("fit --config missing.yaml", "missing.yaml", "--print_config"),
    ("fit --config brokn.yaml", "brokn.yaml", "broken.yaml"),
    ("fit --config tyny", "tyny", "tiny"),
    ("fit --model.latent_dim 1000000000000", "memory", "smaller"),
    ("fit --config my_own", "my_own", "default"),
    ("fit --config broken.yaml", "broken.yaml", "--print_config"),
    ("fit --config=broken.yaml", "line 2", "--print_config"),
    ("fit --config 'my run.yaml'", "my run.yaml", "--print_config"),
    ("fit --config key.yaml --config missing.yaml", "missing.yaml", "--print_config"),
    ("fit --config list.yaml", "list.yaml", "--print_config"),
    ("fit --config empty.yaml", "empty.yaml", "--print_config"),
    ("fit --config folder", "folder", "--print_config"),
    ("fit --config cat.png", "cat.png", "--print_config"),
    ("fit --config key.yaml", "data.sorce", "data.source"),
    ("fit --config old.yaml", "old.yaml: model.prune", "model.inactive_below"),
    ("fit --config value.yaml", "--data.batch_size lots", "whole number"),
    # checkpoints
    ("fit --ckpt_path none.ckpt", "none.ckpt", "train.py"),
    ("fit --ckpt_path patern.ckpt", "patern.ckpt", "patterns.ckpt"),
    ("fit --ckpt_path lst", "--ckpt_path lst", "last"),
    ("fit --ckpt_path best", "best", "best.ckpt"),
    ("fit --data.source https://host/pictures", "https://host/pictures", "another"),
    ("fit --ckpt_path folder", "folder", "file"),
    ("fit --ckpt_path cat.png", "cat.png", ".ckpt"),
    ("fit --ckpt_path weights.ckpt", "weights.ckpt", "last.ckpt"),
    ("fit --ckpt_path earlier.ckpt", "earlier.ckpt", "train anew"),
    ("validate --ckpt_path last", "last.ckpt", "train"),
    ("test --ckpt_path patterns.ckpt --model.latent_dim 5", "--model.latent_dim 5", "leave it out"),
    ("validate --ckpt_path patterns.ckpt --data.image_size 32", "--data.image_size 32", "leave it out"),
]
JARGON = ("Traceback", "Parser key", "<class", "typing.", "Union", "lightning.pytorch", "subcommand")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files and folders to be mistaken about."""
    place = tmp_path_factory.mktemp("things")
    (place / "folder").mkdir()
    for name in ("text.txt", "text.png", "text.npz", "folder/notes.txt"):
        (place / name).write_text("Dear reader")
    for name in ("empty.png", "empty.yaml"):
        (place / name).touch()
    scene(0).save(place / "cat.png")
    scene(1).save(place / "-dash.png")
    for name, count in (
        ("few", 3),
        ("many", 4),
        ("others", 4),
        ("one_class/cat", 4),
        ("classes/a", 4),
        ("classes/b", 4),
    ):
        fill(place / name, count)
    for name, samples in (
        ("clicks", click_track(2, [1.0])),
        ("silence", click_track(1, [])),
        ("nothing", np.zeros(0)),
        ("tiny", np.ones(99)),
    ):
        save_wave(place / f"{name}.wav", samples)
    (place / "playlist.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\nclicks.wav\n#EXT-X-ENDLIST\n")
    for name, length in (("walk.npz", 16), ("short.npz", 8)):
        np.savez(place / name, latents=np.zeros((2, length), np.float32))
    (place / "patterns.ckpt").symlink_to(ROOT / SHIPPED)
    for name, written in (("weights", checkpoint.FORMAT), ("earlier", checkpoint.FORMAT - 1)):
        torch.save(checkpoint.read(ROOT / SHIPPED) | {"format": written}, place / f"{name}.ckpt")
    (place / "broken.yaml").write_text("data: {source: patterns\nmodel: [")
    (place / "my run.yaml").write_text("]")
    (place / "list.yaml").write_text("- 1\n- 2\n")
    (place / "key.yaml").write_text("data:\n  sorce: patterns\n")
    (place / "old.yaml").write_text("model:\n  prune: 1.0\n")
    (place / "value.yaml").write_text("data:\n  batch_size: lots\n")
    return place


@pytest.fixture(scope="module")
def place(things: Path) -> Iterator[Path]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(things)
        patch.setenv("HOME", str(things / "home"))  # where a cache would appear
        build_parsers_once(patch)
        patch.setattr(rendering, "build_parser", functools.cache(rendering.build_parser))
        patch.setattr(models, "load_vae", functools.cache(models.load_vae))
        yield things


EVERY = 3  # of so many mistakes one is made by default
TOLD = [
    pytest.param(each, rows[part::EVERY], id=f"{each.__name__}.py {part}", marks=[pytest.mark.slow] * (part > 0))
    for each, rows in ((render, RENDER), (train, TRAIN))
    for part in range(EVERY)
]


@pytest.mark.parametrize(("called", "rows"), TOLD)
def test_a_mistake_is_told_in_one_line_with_its_remedy(called, rows, place: Path) -> None:
    before = set(place.rglob("*"))
    for typed, named, suggested in rows:
        line = error_of(called.main, *shlex.split(typed))
        program, _, text = line.partition(": ")
        fault, remedy = parts_of(text)
        assert program == f"{called.__name__}.py", typed
        assert named in fault, typed
        assert suggested in remedy, typed
        assert not [word for word in JARGON if word in line], typed
        assert set(place.rglob("*")) == before, typed


@pytest.mark.skipif(torch.accelerator.is_available(), reason="a machine that has what is missed")
def test_an_accelerator_that_is_not_there_is_told_by_the_option(place: Path) -> None:
    assert "--trainer.accelerator gpu: " in error_of(train.main, "fit", "--trainer.accelerator=gpu")
