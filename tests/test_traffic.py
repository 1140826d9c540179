"""What a GPU's kernels move, of a program whose bytes are known."""

from pathstar.pricing import instructions, price, topology, traffic

PROGRAM = """HloModule jit_f, is_scheduled=true

%stack (a: f32[10,100], b: f32[100], i: s32[]) -> f32[10,100] {
  %a = f32[10,100]{1,0} parameter(0)
  %b = f32[100]{0} parameter(1)
  %i = s32[] parameter(2)
  %row = f32[1,100]{1,0} bitcast(%b)
  ROOT %placed = f32[10,100]{1,0} dynamic-update-slice(%a, %row, %i, %i)
}

%unstack (c: f32[10,100], j: s32[]) -> f32[100] {
  %c = f32[10,100]{1,0} parameter(0)
  %j = s32[] parameter(1)
  %same = f32[10,100]{1,0} bitcast(%c)
  %taken = f32[1,100]{1,0} dynamic-slice(%same, %j, %j), dynamic_slice_sizes={1,100}
  ROOT %flat = f32[100]{0} bitcast(%taken)
}

%third (e: f32[30,100]) -> f32[10,100] {
  %e = f32[30,100]{1,0} parameter(0)
  ROOT %middle = f32[10,100]{1,0} slice(%e), slice={[10:20], [0:100]}
}

%whole (d: f32[10,100]) -> f32[10,100] {
  %d = f32[10,100]{1,0} parameter(0)
  ROOT %twice = f32[10,100]{1,0} add(%d, %d)
}

%condition (p: (s32[], f32[10,100], f32[100])) -> pred[] {
  %p = (s32[], f32[10,100]{1,0}, f32[100]{0}) parameter(0)
  %n = s32[] get-tuple-element(%p), index=0
  ROOT %less = pred[] fusion(%n), kind=kLoop, calls=%limit
}

%body (q: (s32[], f32[10,100], f32[100])) -> (s32[], f32[10,100], f32[100]) {
  %q = (s32[], f32[10,100]{1,0}, f32[100]{0}) parameter(0)
  %k = s32[] get-tuple-element(%q), index=0
  %x = f32[10,100]{1,0} get-tuple-element(%q), index=1
  %y = f32[100]{0} get-tuple-element(%q), index=2
  %put = f32[10,100]{1,0} fusion(%x, %y, %k), kind=kLoop, calls=%stack
  %got = f32[100]{0} fusion(%put, %k), kind=kLoop, calls=%unstack
  ROOT %next = (s32[], f32[10,100]{1,0}, f32[100]{0}) tuple(%k, %put, %got)
}

ENTRY %main (u: bf16[64,32], v: bf16[32,16], w: (s32[], f32[10,100], f32[100])) -> f32[10,100] {
  %u = bf16[64,32]{1,0} parameter(0)
  %v = bf16[32,16]{1,0} parameter(1)
  %w = (s32[], f32[10,100]{1,0}, f32[100]{0}) parameter(2)
  %product = (bf16[64,16]{1,0}, s8[4194304]{0}) custom-call(%u, %v), custom_call_target="__cublas$lt$matmul", backend_config=BACKEND
  %loop = (s32[], f32[10,100]{1,0}, f32[100]{0}) while(%w), condition=%condition, body=%body, backend_config={"known_trip_count":{"n":"7"}}
  %z = f32[10,100]{1,0} get-tuple-element(%loop), index=1
  %begun = (f32[10,100]{1,0}, f32[30,100]{1,0}) all-gather-start(%z), replica_groups={{0,1,2}}, dimensions={0}
  %all = f32[30,100]{1,0} all-gather-done(%begun)
  %part = f32[10,100]{1,0} fusion(%all), kind=kLoop, calls=%third, metadata={op_name="jit(f)/slice"}
  %same_again = f32[10,100]{0,1} fusion(%all), kind=kLoop, calls=%third, metadata={op_name="jit(f)/slice"}
  ROOT %out = f32[10,100]{1,0} fusion(%z), kind=kLoop, calls=%whole
}
""".replace("BACKEND", '{"gemm_backend_config":{"dot_dimension_numbers":{"lhs_contracting_dimensions":["1"]}}}')


def test_kernels_take_what_they_move_and_multiply(monkeypatch):
  monkeypatch.setattr(traffic, "_LAUNCH", 0)
  costs = lambda text, **rates: sorted((part.cycles, part.times) for part in traffic.read(text, **rates))
  row = 400 + 4 + 400  # of the stack it is put into or taken from, its place, and the row itself
  product = 2 * (64 * 32 + 32 * 16 + 64 * 16)  # without the scratch memory
  gathered, third, twice = 4000 + 12000, 2 * 4000, 2 * 4000
  assert costs(PROGRAM, bandwidth=1e9, products=1e99) == sorted(
      [(7 * row, 7), (7 * row, 7), (product, 1), (gathered, 1), (third, 1), (third, 1), (twice, 1)])
  multiplied = 2 * 64 * 16 * 32
  assert [cost for cost in costs(PROGRAM, bandwidth=1e99, products=1e9) if cost[0]] == [(multiplied, 1)]
  assert costs(PROGRAM.replace("bf16", "f32"), bandwidth=1e99, products=1e9)[-1] == (2 * multiplied, 1)
  dot = PROGRAM.replace("add(%d, %d)", "dot(%d, %d), lhs_contracting_dims={1}, rhs_contracting_dims={1}")  # within a fusion
  assert costs(dot, bandwidth=1e99, products=1e9)[-1] == (2 * 2 * 10 * 100 * 100, 1)


def test_every_kernel_is_launched_and_what_is_sent_is_told():
  parts = traffic.read(PROGRAM, 1e99, 1e99)
  assert sum(part.times for part in parts) == 7 + 7 + 5 and instructions.cycles(parts) == 19 * traffic._LAUNCH
  assert instructions.sent(parts) == 12000


def test_a_profile_has_one_row_for_what_is_alike():
  compiled = topology.Compiled(1, 2, {}, 1.0, 1e-3, tuple(traffic.read(PROGRAM, 1e9, 1e99)))
  said = price.profile([{"pack": "some"}], {"some": compiled}, "ns")
  [line] = [line for line in said.splitlines() if "jit(f)/slice" in line]
  assert "some: 7 instructions" in said and "| share | ns |" in said
  assert line.endswith(f"| {2 * (8000 + traffic._LAUNCH):,} | 2 | f32[10,100] | jit(f)/slice |  |")
