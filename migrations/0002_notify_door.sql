-- A recorder that calls says only its address: the door through which it is found, and nothing but recorders of that address.
create policy doors_recorders on recorders for select
  using (ip is not null and nullif(current_setting('app.door', true), '') = 'ip:' || ip);
