"""The options of `npu_device.global_options()`."""

_BOOL, _SWITCH = [True, False], [0, 1]
_PRECISION = ["force_fp32", "allow_fp32_to_fp16", "force_fp16", "must_keep_origin_dtype",
              "allow_mix_precision", "cube_fp16in_fp32out", "allow_mix_precision_fp16",
              "allow_mix_precision_bf16", "allow_fp32_to_bf16"]
_PRECISION_V2 = ["fp16", "origin", "cube_fp16in_fp32out", "mixed_float16", "mixed_bfloat16",
                 "cube_hif8", "mixed_hif8"]

# As the adapter has it, with the blanks of a line that it continues.
_PROFILING = ('{"output":".\\/","training_trace":"on","task_time":"on",' + 45 * " "
              + '"hccl":"on","aicpu":"on","aic_metrics":"PipeUtilization",' + 45 * " "
              + '"msproftx":"off"}')

# name -> (default, values that it may have or None for any), or a group of these.
OPTIONS = {
    "graph_run_mode": (1, _SWITCH),
    "graph_memory_max_size": (None, None),
    "variable_memory_max_size": (None, None),
    "variable_format_optimize": (None, _BOOL),
    "enable_scope_fusion_passes": (None, None),
    "fusion_switch_file": (None, None),
    "precision_mode": (None, _PRECISION),
    "op_select_implmode": (None, ["high_performance", "high_precision"]),
    "optypelist_for_implmode": (None, None),
    "op_compiler_cache_mode": ("enable", ["enable", "disable", "force"]),
    "op_compiler_cache_dir": (None, None),
    "stream_max_parallel_num": (None, None),
    "ac_parallel_enable": (None, ["0", "1"]),
    "quant_dumpable": (None, ["0", "1"]),
    "hcom_parallel": (True, _BOOL),
    "hcom_multi_mode": (None, None),
    "is_tailing_optimization": (False, _BOOL),
    "op_debug_level": (None, [0, 1, 2, 3, 4]),
    "op_debug_config": (None, None),
    "debug_dir": (None, None),
    "modify_mixlist": (None, None),
    "enable_exception_dump": (2, [0, 1, 2]),
    "dump_config": {
        "enable_dump": (False, _BOOL),
        "dump_path": (None, None),
        "dump_step": (None, None),
        "dump_mode": ("output", ["input", "output", "all"]),
        "enable_dump_debug": (False, _BOOL),
        "dump_debug_mode": ("all", ["aicore_overflow", "atomic_overflow", "all"]),
        "dump_data": ("tensor", ["tensor", "stats"]),
        "dump_layer": (None, None),
    },
    "aoe_config": {
        "aoe_mode": (None, ["1", "2", "4"]),
        "work_path": ("./", None),
        "aoe_config_file": (None, None),
    },
    "profiling_config": {
        "enable_profiling": (False, _BOOL),
        "profiling_options": (_PROFILING, None),
    },
    "enable_small_channel": (False, _BOOL),
    "deterministic": (0, _SWITCH),
    "op_precision_mode": (None, None),
    "graph_exec_timeout": (None, None),
    "topo_sorting_mode": (None, [0, 1, None]),
    "customize_dtypes": (None, None),
    "overflow_flag": (1, _SWITCH),
    "stream_sync_timeout": (-1, None),
    "event_sync_timeout": (-1, None),
    "execute_times": (-1, None),
    "external_weight": (False, _BOOL),
    "memory_config": {
        "atomic_clean_policy": (0, _SWITCH),
        "static_memory_policy": (0, [0, 1, 2, 3, 4]),
        "variable_use_1g_huge_page": (0, [0, 1, 2]),
    },
    "jit_compile": ("auto", ["true", "false", "auto"]),
    "graph_compiler_cache_dir": (None, None),
    "input_fusion_size": (131072, None),
    "compile_dynamic_mode": (False, _BOOL),
    "experimental": {
        "multi_branches_config": {
            "input_shape": (None, None),
            "dynamic_node_type": (None, ["0"]),
            "dynamic_dims": (None, None),
        },
        "logical_device_deploy_config": {
            "logical_device_cluster_deploy_mode": ("LB", ["LB", "SINGLE"]),
            "logical_device_id": (None, None),
        },
        "model_deploy_config": {
            "model_deploy_mode": (None, None),
            "model_deploy_devicelist": (None, None),
        },
        "graph_memory_optimize_config": {
            "recompute": (None, ["auto", "manual"]),
            "graph_slice": (None, ["auto"]),
        },
        "resource_config_path": (None, None),
        "graph_parallel_option_path": (None, None),
        "enable_graph_parallel": (False, _BOOL),
    },
    "precision_mode_v2": (None, _PRECISION_V2),
    "export_compile_stat": (1, [0, 1, 2]),
    "aicore_num": (None, None),
    "oo_constant_folding": (True, _BOOL),
    "input_batch_cpy": (False, _BOOL),
    "shape_generalization_mode": ("STRICT", ["STRICT", "FULL", "ADAPTIVE"]),
    "all_tensor_not_empty": (False, _BOOL),
    "auto_multistream_parallel_mode": (None, None),
    "oo_level": ("O3", ["O0", "O1", "O2", "O3"]),
    "optimization_switch": (None, None),
}


class Config:
    """A group of options: attributes of fixed names and, for some, of fixed values."""

    def __init__(self, table=None, frozen=lambda: False):
        table = OPTIONS if table is None else table
        values = {name: Config(entry, frozen) if isinstance(entry, dict) else entry[0]
                  for name, entry in table.items()}
        self.__dict__.update(_table=table, _values=values, _frozen=frozen, _given={})

    def __getattr__(self, name):
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        if name not in self._table:
            raise ValueError(f"NpuConfig has no option {name}, all options {list(self._table)}")
        if self._frozen():
            raise RuntimeError(f"option {name} is set after npu_device.open()")
        default, allowed = self._table[name]
        if allowed is not None and value not in allowed:
            if default is not None and not isinstance(value, type(default)):
                raise TypeError(f"Expected {type(default).__name__}, got {type(value).__name__}")
            raise ValueError(f"'{value}' not in optional list {allowed}")
        self._values[name] = self._given[name] = value

    def given(self):
        """What was set, with dotted names."""
        values = dict(self._given)
        for name, value in self._values.items():
            if isinstance(value, Config):
                values.update({f"{name}.{key}": one for key, one in value.given().items()})
        return values
